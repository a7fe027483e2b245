//! `on_update: restart` on a disk that can lose its power.

use super::*;

/// One life of the device with the newer definition: until nothing is under way any more.
fn live(device: &mut Device) -> Result<(), StoreError> {
    device.start()?;
    // A run that is told to stop ends as the plugin's answer comes, or when its grace is over.
    for _ in 0..100 {
        let calls = device.calls();
        for call in &calls {
            device.answer(call)?;
        }
        if device.status().unsettled == 0 {
            return Ok(());
        }
        if calls.is_empty() {
            device.clock.advance(20_000);
            device.turn(Vec::new())?;
        }
    }
    panic!("the runs do not end");
}

#[test]
fn a_power_cut_at_any_sync_restarts_a_run_once() {
    let newer = chain_text("w", 3).replace("version: 1", "version: 2\non_update: restart");
    let mut cuts = 0;
    for cut in 1.. {
        let mut device = Device::new(cut, vec![chain("w", 4)]);
        device.start().unwrap();
        let old = device.begin("w").unwrap().unwrap();
        let first = device.calls().remove(0);
        device.answer(&first).unwrap();
        device.brain = None;
        device.workflows = vec![deployed(&newer)];
        device.disk.cut_at_sync(cut);
        let mut went = false;
        while let Err(e) = live(&mut device) {
            assert!(device.disk.is_dead(), "{e}");
            went = true;
            device.brain = None;
            device.disk.revive();
        }
        let results = device.results();
        let told: Vec<_> = results.iter().map(|one| (one.version.as_str(), one.status)).collect();
        let expected = [("1", RunStatus::Cancelled), ("2", RunStatus::Completed)];
        assert_eq!(told, expected, "cut {cut}");
        assert_eq!(results[0].run.to_string(), old);
        assert_eq!(results[1].outputs.value(), serde_json::json!({ "n": 3 }), "from the beginning");
        if !went {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 4, "{cuts} cuts");
}
