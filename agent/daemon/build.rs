//! How the release build is linked: small, since a device must fetch it and store it. Packed
//! relocations (RELR) where the C library can load them; and, where the linker is the one that comes
//! with the compiler, equal functions folded into one and no tables for unwinding, which the agent
//! does not do.

use std::process::Command;

/// The first glibc whose loader knows DT_RELR.
const GLIBC: (u32, u32) = (2, 36);
/// What the linker is told to leave out.
const NO_TABLES: &str = "no-unwind-tables.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={NO_TABLES}");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    // Another machine's C library cannot be asked; what it gets is linked the old way.
    let native = var("TARGET") == var("HOST") && var("CARGO_CFG_TARGET_ENV") == "gnu";
    if !native || var("PROFILE") != "release" {
        return;
    }
    if glibc().is_some_and(|found| found >= GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // The compiler's own linker is the default on this architecture alone.
    if var("CARGO_CFG_TARGET_ARCH") == "x86_64" && var("RUSTC_LINKER").is_empty() {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all,--no-eh-frame-hdr");
        let script = format!("{}/{NO_TABLES}", var("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{script}");
    }
}

/// The C library's version here, as `getconf` says it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
