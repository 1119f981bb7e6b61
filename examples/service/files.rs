//! Objects: `PUT` and `GET /files/{name}`.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use watchdog_core::audit::{Category, Resource};
use watchdog_session::Role;

use crate::app::{App, ended};
use crate::failure::Failure;
use crate::principal::Principal;

/// Largest file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 8 * 1024 * 1024;

/// `PUT /files/{name}`: for admins and analysts. Of anybody else no byte of the content is read.
pub(crate) async fn put(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Failure> {
    let key = key(&name)?;
    let file = Resource::new("file", &name);
    // Begun before the change: a process that dies in between leaves an entry that says so.
    let mut operation = principal.begin(Category::Application, "file.written", file).await?;
    if !principal.has_any_role(&[Role::ADMIN, Role::ANALYST]) {
        return ended(operation, Err(Failure::forbidden())).await;
    }
    let content = match Bytes::from_request(request, &app).await {
        Ok(content) => content,
        Err(rejection) => return ended(operation, Err(rejection)).await,
    };
    operation.detail("bytes", content.len());
    ended(operation, app.objects.put(&key, content).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /files/{name}`: for everybody who is signed in. Never shown by a browser as a page of ours.
pub(crate) async fn read(
    State(app): State<App>,
    _: Principal,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Failure> {
    let content = app.objects.get(&key(&name)?).await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "private, no-cache"),
    ];
    Ok((headers, content))
}

/// Longest name of a file, in bytes: an entry that names it has to fit into the audit log.
const MAX_NAME_BYTES: usize = 255;

/// Files live beside the audit archive in one bucket, under a prefix that none of them can leave.
fn key(name: &str) -> Result<String, Failure> {
    if name.contains('/') || name.len() > MAX_NAME_BYTES {
        return Err(Failure::bad_request("invalid"));
    }
    Ok(format!("files/{name}"))
}
