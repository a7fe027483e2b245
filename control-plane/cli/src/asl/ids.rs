//! Ids for steps and names for variables, made from the names of states.

use std::collections::BTreeSet;

/// The longest stem of an id, so that helpers' endings still fit.
const STEM_BYTES: usize = 40;

/// Ids that are taken.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeSet<String>);

impl Ids {
    /// An id nobody has, as near to the name as the language allows.
    pub(super) fn fresh(&mut self, name: &str) -> String {
        let stem = stem(name);
        let mut id = stem.clone();
        let mut number = 2;
        while !self.0.insert(id.clone()) {
            id = format!("{stem}_{number}");
            number += 1;
        }
        id
    }
}

/// Letters, digits and underscores, beginning with none of the digits.
fn stem(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut stem: String = name.chars().map(plain).take(STEM_BYTES).collect();
    if !stem.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        stem.insert(0, '_');
    }
    stem
}

/// A name as the language wants it for plugins: lower case, digits and dashes.
pub(super) fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = name.chars().map(plain).take(STEM_BYTES).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "task".to_owned() } else { slug.to_owned() }
}

/// A name as the language wants it for actions: letters, digits, dashes and underscores.
pub(super) fn action(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let action: String = name.chars().map(plain).take(64).collect();
    if action.is_empty() { "execute".to_owned() } else { action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_near_the_name_and_apart() {
        let mut ids = Ids::default();
        assert_eq!(ids.fresh("My State!"), "My_State_");
        assert_eq!(ids.fresh("My State?"), "My_State__2");
        assert_eq!(ids.fresh("1st"), "_1st");
        assert_eq!(ids.fresh(""), "_");
        assert_eq!(ids.fresh(&"x".repeat(80)).len(), STEM_BYTES);
        assert_eq!(slug("aws-sdk:S3 x"), "aws-sdk-s3-x");
        assert_eq!(slug("::"), "task");
        assert_eq!(action("createBucket.sync:2"), "createBucket-sync-2");
    }
}
