//! The settings of the bucket, kept in memory and checked as AWS checks them, over the store of the
//! objects. Nothing is carried out: no object expires.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use s3s::dto::{
    BucketLifecycleConfiguration, BucketVersioningStatus, DeleteBucketLifecycleInput,
    DeleteBucketLifecycleOutput, DeleteObjectInput, DeleteObjectOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLifecycleConfigurationInput,
    GetBucketLifecycleConfigurationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectInput, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    LifecycleRule, ListObjectsV2Input, ListObjectsV2Output, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, PutBucketVersioningInput, PutBucketVersioningOutput,
    PutObjectInput, PutObjectOutput, ServerSideEncryptionConfiguration,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// What the bucket is set to.
#[derive(Debug, Default)]
struct Settings {
    lifecycle: Option<BucketLifecycleConfiguration>,
    versioning: Option<BucketVersioningStatus>,
    encryption: Option<ServerSideEncryptionConfiguration>,
}

/// The store, with settings of its one bucket.
#[derive(Debug)]
pub(super) struct Store {
    objects: FileSystem,
    settings: Mutex<Settings>,
    /// Whether it answers as a store that has no settings.
    pub(super) is_bare: Arc<AtomicBool>,
}

impl Store {
    pub(super) fn new(objects: FileSystem) -> Self {
        Self { objects, settings: Mutex::default(), is_bare: Arc::default() }
    }

    fn settings(&self) -> S3Result<std::sync::MutexGuard<'_, Settings>> {
        if self.is_bare.load(Ordering::Relaxed) {
            return Err(s3_error!(NotImplemented));
        }
        Ok(self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// As AWS: whole days, and nothing that moves after it has gone.
fn check(rule: &LifecycleRule) -> S3Result<()> {
    let expires = rule.expiration.as_ref().and_then(|expiration| expiration.days);
    let moves = rule.transitions.iter().flatten().filter_map(|transition| transition.days);
    let old = rule.noncurrent_version_expiration.as_ref();
    let old = old.and_then(|old| old.noncurrent_days);
    if expires.is_some_and(|days| days < 1) || old.is_some_and(|days| days < 1) {
        return Err(s3_error!(InvalidArgument, "days must be a positive integer"));
    }
    if moves.into_iter().any(|days| expires.is_some_and(|expires| days >= expires)) {
        return Err(s3_error!(InvalidArgument, "an object moves after it has expired"));
    }
    Ok(())
}

#[async_trait]
impl S3 for Store {
    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let mut settings = self.settings()?;
        if !request.headers.contains_key("content-md5") {
            return Err(s3_error!(InvalidRequest, "Missing required header: Content-MD5"));
        }
        let configuration =
            request.input.lifecycle_configuration.ok_or_else(|| s3_error!(MalformedXML))?;
        if configuration.rules.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        configuration.rules.iter().try_for_each(check)?;
        settings.lifecycle = Some(configuration);
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        _: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let found = self.settings()?.lifecycle.clone();
        let found = found.ok_or_else(|| s3_error!(NoSuchLifecycleConfiguration))?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(found.rules),
            ..GetBucketLifecycleConfigurationOutput::default()
        }))
    }

    async fn delete_bucket_lifecycle(
        &self,
        _: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.settings()?.lifecycle = None;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }

    async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        self.settings()?.versioning = request.input.versioning_configuration.status;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        _: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let status = self.settings()?.versioning.clone();
        Ok(S3Response::new(GetBucketVersioningOutput { status, mfa_delete: None }))
    }

    async fn put_bucket_encryption(
        &self,
        request: S3Request<PutBucketEncryptionInput>,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        let configuration = request.input.server_side_encryption_configuration;
        self.settings()?.encryption = Some(configuration);
        Ok(S3Response::new(PutBucketEncryptionOutput::default()))
    }

    async fn get_bucket_encryption(
        &self,
        _: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let found = self.settings()?.encryption.clone();
        let found =
            found.ok_or_else(|| s3_error!(ServerSideEncryptionConfigurationNotFoundError))?;
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(found),
        }))
    }

    async fn get_object_lock_configuration(
        &self,
        _: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        drop(self.settings()?);
        Err(s3_error!(ObjectLockConfigurationNotFoundError))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.objects.put_object(request).await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.objects.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.objects.head_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.objects.delete_object(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.objects.head_bucket(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.objects.list_objects_v2(request).await
    }
}
