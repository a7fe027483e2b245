//! Enrolment: a join code, once, for a certificate.
//!
//! Codes are made by `service::devices`; the database keeps only the hash of the secret. Using one
//! up, writing down the device and signing its first desired state are one transaction, so of many
//! that try the same code at once exactly one succeeds, and a failure uses nothing up.

use std::net::IpAddr;

use openclaw_points::{Point, reach};
use openclaw_protocol::api::{EnrollRequest, EnrollResponse};
use serde_json::json;

use super::ca::CaError;
use crate::context::{Context, LiveChange};
use crate::random;
use crate::service::{Fault, Outcome, desired};
use crate::store::{audit, devices, join_codes};

/// A join code's secret at most, in bytes; ours have 32.
const SECRET_BYTES: usize = 128;

/// Exchanges a join code for a certificate.
///
/// # Errors
/// One answer for a code that is wrong, used or too old; others for a bad certificate request, for
/// too many attempts, and where the database could not.
pub(crate) async fn enroll(
    ctx: &Context,
    request: EnrollRequest,
    from: IpAddr,
) -> Outcome<EnrollResponse> {
    let now_ms = ctx.clock.now_ms();
    // People paste the whole code; the part behind the dot is for the device itself.
    let secret = request.code.split('.').next().unwrap_or_default();
    if secret.is_empty() || secret.len() > SECRET_BYTES {
        return Err(no_such_code());
    }
    let hash = random::hash(secret);
    let limited = ctx.enrolments.begin(&hash, from, now_ms);
    limited.map_err(|retry_after_s| Fault::TooMany { retry_after_s })?;

    let mut tx = ctx.db.write().await?;
    let Some(code) = join_codes::take(&mut tx, &hash, now_ms).await? else {
        tracing::info!(%from, "a join code was refused");
        return Err(no_such_code());
    };
    let (tenant, device) = (&code.tenant, &code.device);
    tx.lock_tenant(tenant.as_str()).await?;
    let issued = ctx.ca.issue(&request.csr_pem, tenant, device, now_ms);
    let issued = issued.map_err(|error| match error {
        CaError::Request(_) => Fault::invalid("enroll.csr", error.to_string()),
        error @ (CaError::File { .. }
        | CaError::KeyMissing(_)
        | CaError::Crypto { .. }
        | CaError::Name(_)
        | CaError::Random(_)
        | CaError::Tls(_)) => Fault::Internal(error.to_string()),
    })?;
    let row = devices::NewDevice {
        id: device,
        labels: &code.labels,
        certificate_fingerprint: issued.fingerprint,
        certificate_expires_ms: issued.expires_ms,
    };
    if !devices::insert(&mut tx, tenant, &row, now_ms).await? {
        let detail = format!("there is a device `{device}` already; ask for another join code");
        return Err(Fault::conflict("device.exists", detail));
    }
    desired::refresh(ctx, &mut tx, tenant, std::slice::from_ref(device)).await?;
    let entry = audit::Entry {
        tenant: tenant.as_str(),
        actor: &format!("device:{device}"),
        action: "device.enroll",
        subject: device.as_str(),
        detail: json!({ "from": from.to_string(), "code_made_by": code.created_by }),
    };
    audit::record(&mut tx, entry, now_ms).await?;
    reach(Point::EnrolCommit);
    tx.commit().await?;
    reach(Point::EnrolCommitted);
    ctx.enrolments.succeeded(&hash, from);
    tracing::info!(%tenant, %device, %from, "a device has enrolled");
    ctx.live.publish(tenant, [LiveChange::Device { device: device.to_string() }]);
    Ok(EnrollResponse {
        tenant: tenant.to_string(),
        device: device.to_string(),
        certificate_pem: issued.pem,
        ca_pem: ctx.ca.certificate_pem().to_owned(),
        mqtt_host: ctx.config.public_host.clone(),
        mqtt_port: ctx.mqtt_public_port(),
        desired_key: ctx.ca.desired_key_hex(),
    })
}

/// One text for all reasons: who guesses learns nothing.
fn no_such_code() -> Fault {
    Fault::invalid(
        "join_code.invalid",
        "this join code is wrong, was used, or has ended; ask for a new one",
    )
}
