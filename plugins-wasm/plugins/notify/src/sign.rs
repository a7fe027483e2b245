//! Signatures of DingTalk and Feishu: HMAC-SHA256 and base64, each in its own order.

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Of "TIMESTAMP\nSECRET" with the secret as the key, ready for a URL.
pub(crate) fn dingtalk(timestamp_ms: i64, secret: &str) -> String {
    let message = format!("{timestamp_ms}\n{secret}");
    let sum = BASE64.encode(&hmac(secret.as_bytes(), message.as_bytes()));
    sum.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

/// Of nothing, with "TIMESTAMP\nSECRET" as the key.
pub(crate) fn feishu(timestamp_s: i64, secret: &str) -> String {
    BASE64.encode(&hmac(format!("{timestamp_s}\n{secret}").as_bytes(), b""))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // A key of any length is a key; there is no error to be had.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 4231, test cases 1, 2 and 6.
    #[test]
    fn the_standard_s_vectors() {
        for (key, message, sum) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(HEXLOWER.encode(&hmac(key, message)), sum);
        }
    }
}
