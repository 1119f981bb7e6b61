//! An S3 store in this process, with signature checks, faults and a count of requests.
//!
//! The store is `s3s-fs` over a temporary directory. It checks signatures and honours
//! `If-None-Match: *`, but two creates at the same instant may both win: races belong on
//! [`Objects::memory`](crate::objects::Objects::memory). The bucket has lifecycle rules, versioning and
//! default encryption, which are checked and kept, and not carried out.

mod fault;
mod settings;
mod tls;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use watchdog_core::Secret;

use crate::error::{Error, ErrorKind, Result};
use crate::objects::{S3Config, StorageConfig, StorageType};

pub use fault::Fault;
use fault::Faults;

/// The access key id that the server accepts.
pub const ACCESS_KEY: &str = "test-access-key";

/// The secret access key that the server accepts. Numeric at its start and full of what breaks
/// naive parsers.
pub const SECRET_KEY: &str = "0012,test=secret/key+\"quoted\"";

/// The bucket that exists.
pub const BUCKET: &str = "test-bucket";

/// An S3 store in this process. It ends when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    certificate: Option<PathBuf>,
    shared: Arc<Shared>,
    accepting: AbortHandle,
    _directory: TempDir,
}

#[derive(Debug)]
struct Shared {
    service: S3Service,
    root: PathBuf,
    requests: AtomicU64,
    faults: Faults,
    /// The files behind objects that must be restored before they can be read.
    frozen: Mutex<HashSet<PathBuf>>,
    is_bare: Arc<AtomicBool>,
}

impl Shared {
    fn is_frozen(&self, request: &hyper::Request<s3s::Body>) -> bool {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        request.method() == hyper::Method::GET
            && !frozen.is_empty()
            && fault::file(&self.root, request.uri()).is_some_and(|file| frozen.contains(&file))
    }
}

impl S3Server {
    /// Starts a server over plain HTTP on a free port of the loopback interface, with the bucket
    /// [`BUCKET`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the port or the directory cannot be had.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// As [`S3Server::start`], over TLS with a certificate authority of its own for `localhost` and
    /// `127.0.0.1`.
    ///
    /// # Errors
    ///
    /// As [`S3Server::start`].
    pub async fn start_tls() -> Result<Self> {
        let identity = tls::Identity::new()?;
        Self::start_with(Some(identity)).await
    }

    async fn start_with(identity: Option<tls::Identity>) -> Result<Self> {
        let directory = tempfile::tempdir().map_err(not_started)?;
        let root = directory.path().join("buckets");
        std::fs::create_dir_all(root.join(BUCKET)).map_err(not_started)?;
        let store = s3s_fs::FileSystem::new(&root).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("the S3 store does not start: {error:?}"))
        })?;
        let store = settings::Store::new(store);
        let is_bare = Arc::clone(&store.is_bare);
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Arc::new(Shared {
            service: builder.build(),
            root,
            requests: AtomicU64::new(0),
            faults: Faults::default(),
            frozen: Mutex::default(),
            is_bare,
        });

        let mut certificate = None;
        let mut acceptor = None;
        if let Some(identity) = identity {
            let path = directory.path().join("ca.pem");
            std::fs::write(&path, &identity.authority_pem).map_err(not_started)?;
            certificate = Some(path);
            acceptor = Some(identity.acceptor);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(not_started)?;
        let address = listener.local_addr().map_err(not_started)?;
        let accepting =
            tokio::spawn(accept(listener, acceptor, Arc::clone(&shared))).abort_handle();
        Ok(Self { address, certificate, shared, accepting, _directory: directory })
    }

    /// How to reach the server, with an endpoint without a scheme.
    pub fn config(&self) -> StorageConfig {
        let s3 = S3Config {
            endpoint: Some(self.address.to_string()),
            bucket: Some(BUCKET.into()),
            access_key: Some(Secret::from(ACCESS_KEY)),
            secret_key: Some(Secret::from(SECRET_KEY)),
            secure: self.certificate.is_some(),
            tls_ca: self.certificate.clone(),
            ..S3Config::default()
        };
        StorageConfig { kind: StorageType::S3, s3, ..StorageConfig::default() }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have arrived, failed ones and retries included.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Lets a fault happen to the next `times` requests that it applies to.
    pub fn fail_next(&self, fault: Fault, times: usize) {
        self.shared.faults.queue(fault, times);
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Answers calls about the bucket's settings as a store that has none: 501.
    pub fn deny_settings(&self) {
        self.shared.is_bare.store(true, Ordering::Relaxed);
    }

    /// Moves an object to Glacier: reads of it are refused until it is restored, which it never is.
    pub fn freeze(&self, key: &str) {
        self.shared.frozen.lock().unwrap_or_else(PoisonError::into_inner).insert(self.file(key));
    }

    /// The file behind an object, to damage it behind the store's back.
    pub fn file(&self, key: &str) -> PathBuf {
        self.shared.root.join(BUCKET).join(key)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Connections live in the task's set and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match acceptor {
                None => serve(stream, shared).await,
                // A client that does not trust the certificate is no concern of the server.
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, shared).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            shared.requests.fetch_add(1, Ordering::Relaxed);
            let request = request.map(s3s::Body::from);
            match shared.faults.take(request.method()) {
                Some(fault) => fault::answer(fault, request, &shared.service, &shared.root).await,
                None if shared.is_frozen(&request) => {
                    fault::refuse(request, 403, "InvalidObjectState").await
                }
                None => fault::execute(request, &shared.service).await,
            }
        }
    });
    // A connection that breaks is what many tests are about.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

fn not_started(source: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the S3 server does not start").with_source(source)
}
