//! What a publisher signs: name, version, and the digests of module and manifest, so that none of
//! them can be exchanged for another that was signed as well.

use std::fmt::Write as _;

use crate::id::{Digest, PluginName};

/// First line of a statement: which kind it is, so that a signature is good for nothing else.
const HEAD: &str = "openclaw plugin 1";

/// The statement, byte for byte: five lines, each ended by a newline. `manifest` is the SHA-256 of
/// `plugin.toml` as its author wrote it.
#[must_use]
pub fn statement(
    name: &PluginName,
    version: &semver::Version,
    module: Digest,
    manifest: Digest,
) -> String {
    // Neither a name nor a version can hold a newline.
    let mut text = String::with_capacity(256);
    let _infallible =
        write!(text, "{HEAD}\n{name}\n{version}\nmodule {module}\nmanifest {manifest}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_that_were_signed_ever_since() {
        let name = PluginName::parse("greeter").unwrap();
        let version = semver::Version::parse("1.2.0-rc.1").unwrap();
        let text = statement(&name, &version, Digest([0xab; 32]), Digest([0x01; 32]));
        let (module, manifest) = ("ab".repeat(32), "01".repeat(32));
        assert_eq!(
            text,
            format!(
                "openclaw plugin 1\ngreeter\n1.2.0-rc.1\nmodule {module}\nmanifest {manifest}\n"
            )
        );
    }
}
