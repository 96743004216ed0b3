//! The table of the micro-benchmarks, out of the files that criterion leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::Outcome;
use crate::measure::median as middle;
use crate::plot::grouped;

/// Nanoseconds, by question, by who was asked, and by the round.
type Medians = BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>;

/// Of the runtimes; other names are shown in a table of their own.
const RUNTIMES: [&str; 3] = ["bourn", "tokio", "smol"];

/// What the ratio to tokio is to be at most.
const TARGETS: [(&str, f64); 11] = [
    ("block_on(ready), one thread", 0.5),
    ("block_on(spawn), two workers", 0.02),
    ("ping-pong, one thread", 0.92),
    ("ping-pong, two workers", 0.8),
    ("spawn+join x1000, one thread", 0.28),
    ("spawn+join x1000, two workers", 0.35),
    ("spawn+join x1000 from outside, two workers", 0.35),
    ("timeout that never fires, one thread", 0.13),
    ("timeout that never fires, among 10000, one thread", 0.25),
    ("yield_now of 1000 tasks, one thread", 0.45),
    ("yield_now of 1000 tasks, two workers", 0.6),
];

/// The target of a question, if it has one, and whether a ratio meets it.
fn target(question: &str, over_tokio: Option<f64>) -> String {
    let target = TARGETS.iter().find(|(name, _)| *name == question);
    let Some((&(_, target), ratio)) = target.zip(over_tokio) else { return String::new() };
    // As it is shown.
    let is_met = (ratio * 1000.0).round() <= target * 1000.0;
    format!("{target}, {}", if is_met { "met" } else { "**missed**" })
}

fn criterion() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| crate::peer::root().join("target"), PathBuf::from).join("criterion")
}

/// What stands behind a key in criterion's JSON.
fn value<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":"))?;
    Some(rest.trim_start())
}

/// A string there, and not `null`. Those of our benches have no escapes.
fn text(json: &str, key: &str) -> Option<String> {
    Some(value(json, key)?.strip_prefix('"')?.split_once('"')?.0.to_owned())
}

fn median(estimates: &str) -> Option<f64> {
    let (_, median) = estimates.split_once("\"median\":")?;
    value(median, "point_estimate")?.split(['}', ',']).next()?.trim().parse().ok()
}

/// Collects all results below a folder that are not older than `oldest`.
fn collect(folder: &Path, oldest: SystemTime, medians: &mut Medians) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let (about, estimates) = (path.join("benchmark.json"), path.join("estimates.json"));
        if path.ends_with("new") && about.exists() {
            if fs::metadata(&estimates)?.modified()? < oldest {
                println!("left out, for it is older than the rest: {}", path.display());
                continue;
            }
            let (about, estimates) = (fs::read_to_string(&about)?, fs::read_to_string(estimates)?);
            let (function, value) = (text(&about, "function_id"), text(&about, "value_str").unwrap_or_default());
            let (asked, round) = function.map_or((value.clone(), String::new()), |function| (function, value));
            let (Some(group), Some(median)) = (text(&about, "group_id"), median(&estimates)) else {
                return Err(format!("{} is not as criterion writes it", path.display()).into());
            };
            medians.entry(group).or_default().entry(asked).or_default().insert(round, median);
        } else if path.is_dir() {
            collect(&path, oldest, medians)?;
        }
    }
    Ok(())
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        0.0..1e3 => format!("{nanoseconds:.1} ns"),
        1e3..1e5 => format!("{:.2} us", nanoseconds / 1e3),
        _ => format!("{} us", grouped(nanoseconds / 1e3)),
    }
}

/// The tables.
pub fn tables() -> Outcome<String> {
    let folder = criterion();
    let mut medians = Medians::new();
    // A run takes minutes; what is a day old is of another one, and of other code perhaps.
    let oldest = SystemTime::now() - Duration::from_hours(1);
    collect(&folder, oldest, &mut medians)
        .map_err(|error| format!("{}: {error}; cargo bench comes first", folder.display()))?;
    let mut runtimes = String::from(
        "| question | bourn | tokio | smol | bourn/tokio | bourn/smol | target |\n|---|---|---|---|---|---|---|\n",
    );
    let mut others = String::from("| question | who | time |\n|---|---|---|\n");
    for (question, asked) in &medians {
        let typical = |who: &str| {
            asked.get(who).map_or("-".to_owned(), |rounds| time(middle(rounds.values().copied().collect())))
        };
        if let Some(bourn) = asked.get(RUNTIMES[0]) {
            // Of the same round each.
            let over = |runtime: &str| {
                let rounds = asked.get(runtime)?;
                let ratio = |(round, median): (&String, &f64)| Some(median / rounds.get(round)?);
                Some(middle(bourn.iter().filter_map(ratio).collect())).filter(|ratio| !ratio.is_nan())
            };
            let shown = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let [bourn, tokio, smol] = RUNTIMES.map(typical);
            let (over_tokio, over_smol) = (over(RUNTIMES[1]), over(RUNTIMES[2]));
            let (target, over_tokio, over_smol) = (target(question, over_tokio), shown(over_tokio), shown(over_smol));
            runtimes +=
                &format!("| {question} | {bourn} | {tokio} | {smol} | {over_tokio} | {over_smol} | {target} |\n");
        } else {
            for who in asked.keys() {
                others += &format!("| {question} | {who} | {} |\n", typical(who));
            }
        }
    }
    Ok(format!("{runtimes}\n{others}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_as_it_is_shown() {
        assert_eq!(target("ping-pong, one thread", Some(0.9204)), "0.92, met");
        assert_eq!(target("ping-pong, one thread", Some(0.9206)), "0.92, **missed**");
        assert_eq!(target("ping-pong, one thread", None), "");
        assert_eq!(target("echo of 64 bytes, one thread", Some(2.0)), "");
    }

    #[test]
    fn criterions_files_are_read() {
        let about = r#"{"group_id":"a, one thread","function_id":"bourn","value_str":null}"#;
        assert_eq!(text(about, "group_id").as_deref(), Some("a, one thread"));
        assert_eq!(text(about, "function_id").as_deref(), Some("bourn"));
        assert_eq!(text(about, "value_str"), None);
        let estimates = r#"{"mean":{"point_estimate":1.0},"median":{"confidence_interval":{"confidence_level":0.95,
            "lower_bound":2.0,"upper_bound":4.0},"point_estimate":3.5,"standard_error":0.1},"slope":null}"#;
        assert_eq!(median(estimates), Some(3.5));
    }
}
