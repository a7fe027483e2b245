//! The kernel's texts as numbers. Pure, so that the desk can test it with any machine's text.

use serde::Serialize;

/// Run-queue averages, and how many threads there are.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Load {
    pub(crate) load1: f64,
    pub(crate) load5: f64,
    pub(crate) load15: f64,
    /// Threads that run or are ready to, of `threads`.
    pub(crate) running: u32,
    pub(crate) threads: u32,
}

/// Memory in bytes.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Memory {
    pub(crate) total_bytes: u64,
    /// What programs could get without swapping, by the kernel's own estimate.
    pub(crate) available_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) used_percent: f64,
    pub(crate) swap_total_bytes: u64,
    pub(crate) swap_used_bytes: u64,
}

/// Traffic of all interfaces but loopback, since boot.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Network {
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// `/proc/loadavg`: `0.20 0.18 0.12 1/80 11206`.
pub(crate) fn load(text: &str) -> Option<Load> {
    let mut words = text.split_ascii_whitespace();
    let mut number = || words.next()?.parse().ok();
    let (load1, load5, load15) = (number()?, number()?, number()?);
    let (running, threads) = words.next()?.split_once('/')?;
    Some(Load {
        load1,
        load5,
        load15,
        running: running.parse().ok()?,
        threads: threads.parse().ok()?,
    })
}

/// `/proc/stat`: one line `cpuN` a processor that is online.
pub(crate) fn processors(text: &str) -> Option<usize> {
    let is_one = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let count = text.lines().filter(is_one).count();
    (count > 0).then_some(count)
}

/// `/proc/meminfo`: `MemTotal:   16316 kB` and so on. Kernels before 3.14 have no estimate of
/// what is available; free memory and caches together stand in for it.
pub(crate) fn memory(text: &str) -> Option<Memory> {
    let bytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = bytes("MemTotal")?;
    let available = bytes("MemAvailable")
        .or_else(|| Some(bytes("MemFree")? + bytes("Buffers")? + bytes("Cached")?))?;
    let used = total.saturating_sub(available);
    let swap_total = bytes("SwapTotal").unwrap_or(0);
    Some(Memory {
        total_bytes: total,
        available_bytes: available,
        used_bytes: used,
        used_percent: percent(used as f64, total as f64),
        swap_total_bytes: swap_total,
        swap_used_bytes: swap_total.saturating_sub(bytes("SwapFree").unwrap_or(0)),
    })
}

/// `/proc/uptime`: seconds since boot, then idle time.
pub(crate) fn uptime(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// `/proc/net/dev`: two lines of heading, then `eth0: RECEIVED … SENT …` with eight columns each.
pub(crate) fn network(text: &str) -> Network {
    let mut all = Network { received_bytes: 0, sent_bytes: 0 };
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let column = |n: usize| rest.split_ascii_whitespace().nth(n).and_then(|w| w.parse().ok());
        let (Some(received), Some(sent)) = (column(0), column(8)) else { continue };
        all.received_bytes = all.received_bytes.saturating_add(received);
        all.sent_bytes = all.sent_bytes.saturating_add(sent);
    }
    all
}

/// A thermal zone's `temp`: thousandths of a degree Celsius.
pub(crate) fn millidegrees(text: &str) -> Option<f64> {
    Some(text.trim().parse::<i32>().ok()? as f64 / 1000.0)
}

/// `part` as percent of `whole`, to one decimal.
pub(crate) fn percent(part: f64, whole: f64) -> f64 {
    if whole <= 0.0 {
        return 0.0;
    }
    (part / whole * 1000.0 + 0.5) as i64 as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_without_an_estimate_of_available_memory() {
        let text = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 250 kB\n";
        let memory = memory(text).unwrap();
        assert_eq!(memory.available_bytes, 400 * 1024);
        assert_eq!(memory.used_percent, 60.0);
        assert_eq!(memory.swap_total_bytes, 0);
    }

    #[test]
    fn nonsense_is_refused_not_guessed() {
        assert_eq!(load("hello"), None);
        assert_eq!(processors("intr 1 2 3"), None);
        assert_eq!(memory("MemTotal: x kB"), None);
        assert_eq!(uptime(""), None);
        assert_eq!(millidegrees("N/A"), None);
    }

    #[test]
    fn loopback_does_not_count() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 10 1 0 0 0 0 0 0 20 1\n";
        assert_eq!(network(text), Network { received_bytes: 10, sent_bytes: 20 });
    }
}
