//! Permissions in bytes and in text, those of before included.

use super::*;

/// As permissions were written when there were four kinds.
#[derive(Serialize, Deserialize)]
struct Before {
    http: Vec<String>,
    files: Vec<String>,
    time: bool,
    random: bool,
}

fn full() -> Permissions {
    let mut all = Permissions { time: true, random: true, ..Permissions::default() };
    for kind in Capability::ALL {
        all.list_mut(kind).push(format!("{}-1", kind.name()));
        all.list_mut(kind).push("x".to_owned());
    }
    all
}

#[test]
fn bytes_from_before_are_read_and_written_as_ever() {
    for (time, random) in [(false, false), (true, false), (false, true), (true, true)] {
        let (http, files) = (vec!["a:80".to_owned()], vec!["proc".to_owned()]);
        let before = Before { http, files, time, random };
        let bytes = postcard::to_allocvec(&before).unwrap();
        let read: Permissions = postcard::from_bytes(&bytes).unwrap();
        assert_eq!((read.time, read.random, read.http.len()), (time, random, 1));
        assert_eq!(postcard::to_allocvec(&read).unwrap(), bytes);
    }
}

#[test]
fn everything_comes_back_from_bytes_and_text() {
    for permissions in [full(), Permissions { random: false, ..full() }, Permissions::default()] {
        let two = [permissions.clone(), permissions.clone()];
        let bytes = postcard::to_allocvec(&two).unwrap();
        assert_eq!(postcard::from_bytes::<[Permissions; 2]>(&bytes).unwrap(), two);
        for cut in 0..bytes.len() {
            assert!(postcard::from_bytes::<[Permissions; 2]>(&bytes[..cut]).is_err(), "{cut}");
        }
        let text = serde_json::to_string(&permissions).unwrap();
        assert_eq!(serde_json::from_str::<Permissions>(&text).unwrap(), permissions);
    }
}

#[test]
fn who_knows_less_refuses_what_it_does_not_know() {
    let bytes = postcard::to_allocvec(&full()).unwrap();
    assert!(postcard::from_bytes::<Before>(&bytes).is_err(), "a flag of 3 is no bool");
    let unknown =
        (Vec::<String>::new(), Vec::<String>::new(), false, MORE, vec![(200_u8, vec!["x"])]);
    let bytes = postcard::to_allocvec(&unknown).unwrap();
    assert!(postcard::from_bytes::<Permissions>(&bytes).is_err());
    let bytes =
        postcard::to_allocvec(&(Vec::<String>::new(), Vec::<String>::new(), false, 4_u8)).unwrap();
    assert!(postcard::from_bytes::<Permissions>(&bytes).is_err());
}

#[test]
fn missing_permissions_are_named() {
    let asked = Permissions { http: vec!["a:80".into()], time: true, ..Default::default() };
    assert_eq!(asked.missing_from(&Permissions::default()), ["http:a:80", "time"]);
    assert!(asked.missing_from(&asked.clone()).is_empty());
    assert_eq!(full().missing_from(&Permissions::default()).len(), 24);
    // `*` is an entry like any other: who has approved one port has not approved all.
    let public = |entry: &str| Permissions { http: vec![entry.into()], ..Default::default() };
    assert_eq!(public("*:*").missing_from(&public("*:443")), ["http:*:*"]);
    assert_eq!(public("*:443").missing_from(&asked), ["http:*:443"]);
}

#[test]
fn entries_that_cannot_be_are_refused_with_what_to_write() {
    for (kind, entry, part) in [
        (Capability::Http, "example.com", "host:port"),
        (Capability::Http, "example.com:0", "1 to 65535"),
        (Capability::Tcp, ":502", "1 to 65535"),
        (Capability::Files, "/etc", "logical name"),
        (Capability::FilesWrite, "../x", "logical name"),
        (Capability::Kv, "all", "`workflow` or `plugin`"),
        (Capability::MqttPublish, "a/#/b", "topic filter"),
        (Capability::Secrets, "a-b", "underscores"),
        (Capability::Serial, "/dev/ttyS0", "logical name"),
        (Capability::Gpio, "", "logical name"),
        (Capability::I2c, "0x48!", "logical name"),
        (Capability::Exec, "rm -rf", "logical name"),
    ] {
        let mut permissions = Permissions::default();
        permissions.list_mut(kind).push(entry.to_owned());
        let error = permissions.check().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(kind.name()), "{error}");
    }
    let pins = (0..=limits::PERMISSION_ENTRIES).map(|n| format!("pin-{n}"));
    let mut many = Permissions { gpio: pins.collect(), ..Permissions::NONE };
    assert!(many.check().unwrap_err().to_string().contains("too many"));
    many.gpio.pop();
    many.check().unwrap();
}

#[test]
fn what_is_asked_for_has_its_kinds() {
    let asked = Permissions { kv: vec!["plugin".into()], time: true, ..Permissions::NONE };
    assert_eq!(asked.kinds(), ["kv", "time"]);
    assert!(Permissions::NONE.kinds().is_empty());
    assert_eq!(full().kinds().len(), Capability::ALL.len() + 2);
}
