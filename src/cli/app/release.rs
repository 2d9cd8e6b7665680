//! `pome release` and `pome touch`: which version of an app others run, and links for apps that are to be.

use super::{Which, args::ReleaseArgs, record, set_record, tell};
use crate::cli::{drive::finish, failure::Failure, io::Io, service::Service};
use pome_cores::crypto::random_bytes;
use serde_json::json;

const CMD: &str = "release";

pub(crate) async fn release(
    service: &Service,
    args: ReleaseArgs,
    io: &mut Io,
) -> Result<(), Failure> {
    let which = Which::of(&args.app, io)?;
    let drive = which.ours(service, false).await?;
    let _alone = service.staging(drive.key()).await;
    service.mounts.publish(drive.key()).await?;
    let link = format!("pear://{}", drive.key());
    if record(&drive, "manifest").await?.is_none() {
        let message = format!("nothing was staged into {link} yet");
        return Err(Failure::new("ERR_UNSTAGED", message));
    }
    let current = drive.version();
    // The record is part of what is released.
    let length = args.checkout.unwrap_or(current + 1);
    if length > current + 1 || length == 0 {
        let message = format!("{link} has no version {length}: it is at {current}");
        return Err(Failure::new("ERR_INVALID_INPUT", message));
    }
    let data = json!({ "channel": which.channel(), "link": link });
    tell(io, (CMD, "releasing"), data, "").await?;
    let data = json!({ "currentLength": current, "releaseLength": length });
    tell(io, (CMD, "updating-to"), data, "").await?;
    set_record(&drive, "release", &json!(length)).await?;
    finish(service, &drive).await?;
    let data = json!({ "channel": which.channel(), "link": link, "length": drive.version() });
    let text = format!("released version {length} of {link}");
    tell(io, (CMD, "released"), data, text).await
}

/// A link for an app: a drive with nothing in it. With a `prefix`, one whose key begins so.
pub(crate) async fn touch(
    service: &Service,
    prefix: Option<String>,
    io: &mut Io,
) -> Result<(), Failure> {
    let mut namespace = some_namespace();
    if let Some(prefix) = prefix {
        // That of a drive is the key of its database, whose name is always this.
        let key = |namespace: &str| service.corestore.namespace(namespace).key_of("db");
        while !key(&namespace).to_string().starts_with(&prefix) {
            // Others have their turn, and this ends when nobody waits for it any more.
            tokio::task::yield_now().await;
            namespace = some_namespace();
        }
    }
    let drive = service.app(&namespace, true).await?;
    service.name_app(&namespace, &drive)?;
    service.sync().await?;
    let key = drive.key().to_string();
    let link = format!("pear://{key}");
    let data = json!({ "key": key, "link": link });
    tell(io, ("touch", "final"), data, link).await
}

/// A namespace that no app of this store has.
fn some_namespace() -> String {
    let bytes: [u8; 16] = random_bytes();
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("!touch~{name}")
}
