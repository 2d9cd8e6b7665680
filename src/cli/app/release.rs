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

/// A link for an app: a drive with nothing in it.
pub(crate) async fn touch(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let bytes: [u8; 16] = random_bytes();
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let namespace = format!("!touch~{name}");
    let drive = service.app(&namespace, true).await?;
    service.name_app(&namespace, &drive)?;
    service.sync().await?;
    let key = drive.key().to_string();
    let link = format!("pear://{key}");
    let data = json!({ "key": key, "link": link });
    tell(io, ("touch", "final"), data, link).await
}
