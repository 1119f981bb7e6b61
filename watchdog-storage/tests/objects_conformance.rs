//! Every back end of `Objects` against one contract.

use watchdog_storage::objects::Objects;
use watchdog_storage::testing::objects::{conformance, create_race};
use watchdog_storage::testing::s3::S3Server;

#[tokio::test]
async fn memory_conforms() {
    conformance(&Objects::memory()).await;
}

#[tokio::test]
async fn a_local_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conformance(&Objects::local(directory.path().join("not/yet/there")).unwrap()).await;
}

#[tokio::test]
async fn s3_over_http_conforms() {
    let server = S3Server::start().await.unwrap();
    conformance(&Objects::from_config(&server.config()).unwrap()).await;
}

#[tokio::test]
async fn s3_over_tls_with_an_authority_of_its_own_conforms() {
    let server = S3Server::start_tls().await.unwrap();
    conformance(&Objects::from_config(&server.config()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_64_creates_wins_in_memory() {
    create_race(&Objects::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_64_creates_wins_in_a_local_directory() {
    let directory = tempfile::tempdir().unwrap();
    create_race(&Objects::local(directory.path()).unwrap()).await;
}
