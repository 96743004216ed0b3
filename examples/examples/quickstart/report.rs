//! The table and the picture.

use std::io::{self, Write};

use crate::load::Outcome;
use crate::servers::Kind;

/// The longest bar, in characters.
const BAR: usize = 46;

/// Prints everything to standard output.
///
/// # Errors
/// If nobody listens there any more.
pub fn print(outcomes: &[(Kind, Outcome)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_report(&mut out, outcomes)?;
    out.flush()
}

fn write_report(out: &mut impl Write, outcomes: &[(Kind, Outcome)]) -> io::Result<()> {
    let row = |out: &mut dyn Write, cells: [&str; 8]| {
        let [server, rate, p50, p99, unserved, threads, memory, switches] = cells;
        writeln!(
            out,
            "{server:13}  {rate:>10}  {p50:>7}  {p99:>7}  {unserved:>6}  {threads:>7}  {memory:>7}  {switches:>9}"
        )
    };
    writeln!(out)?;
    row(out, ["", "", "", "", "not", "", "peak", "context"])?;
    row(out, ["server", "requests/s", "p50", "p99", "served", "threads", "memory", "switches"])?;
    for (kind, outcome) in outcomes {
        // Without /proc there is nothing to say.
        let used = |text: Option<String>| text.unwrap_or_else(|| "-".to_string());
        row(
            out,
            [
                kind.title(),
                &grouped(rate(outcome)),
                &latency(percentile(&outcome.latencies, 50)),
                &latency(percentile(&outcome.latencies, 99)),
                &grouped((outcome.clients - outcome.served) as u64),
                &used(outcome.usage.map(|usage| grouped(usage.threads))),
                &used(outcome.usage.map(|usage| mebibytes(usage.peak_memory))),
                &used(outcome.usage.map(|usage| grouped(usage.context_switches))),
            ],
        )?;
    }

    chart(out, "requests per second", outcomes, rate)?;
    let clients = outcomes.iter().map(|(_, outcome)| outcome.clients).max().unwrap_or(0);
    let title = format!("clients served, of {}", grouped(clients as u64));
    chart(out, &title, outcomes, |outcome| outcome.served as u64)?;

    writeln!(out)?;
    for (kind, outcome) in outcomes {
        if let Some(error) = &outcome.failures.first {
            let count = grouped(outcome.failures.count as u64);
            writeln!(out, "{}: {count} clients failed, the first with: {error}", kind.title())?;
        }
    }
    writeln!(
        out,
        "Latencies are those of the answers that came: `one at a time` is quick for the\n\
         one client it is with, and lets the others wait until that one leaves. bourn\n\
         and the clients have one thread each; `thread each` may use every CPU."
    )
}

fn chart(
    out: &mut impl Write,
    title: &str,
    outcomes: &[(Kind, Outcome)],
    value: impl Fn(&Outcome) -> u64,
) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    let longest = outcomes.iter().map(|(_, outcome)| value(outcome)).max().unwrap_or(0);
    for (kind, outcome) in outcomes {
        let value = value(outcome);
        writeln!(out, "{:13}  {} {}", kind.title(), bar(value, longest), grouped(value))?;
    }
    Ok(())
}

/// A bar in eighths of a character, and never quite nothing for something.
fn bar(value: u64, longest: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let scale = (BAR * 8) as u64;
    let eighths = (value * scale).checked_div(longest).unwrap_or(0).max(u64::from(value > 0)) as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

fn rate(outcome: &Outcome) -> u64 {
    (outcome.latencies.len() as f64 / outcome.elapsed.as_secs_f64()) as u64
}

/// The smallest value that is not exceeded by this many of a hundred.
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn latency(micros: Option<u32>) -> String {
    match micros {
        None => "-".to_string(),
        Some(micros @ 0..1_000) => format!("{micros} µs"),
        Some(micros @ 1_000..99_950) => format!("{:.1} ms", f64::from(micros) / 1e3),
        Some(micros @ 99_950..999_500) => format!("{:.0} ms", f64::from(micros) / 1e3),
        Some(micros) => format!("{:.1} s", f64::from(micros) / 1e6),
    }
}

fn mebibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    let digits = if mebibytes < 99.95 { 1 } else { 0 };
    format!("{mebibytes:.digits$} MiB")
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Failures;
    use crate::usage::Usage;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), Some(100));
        assert_eq!(percentile(&sorted, 99), Some(198));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn bars_are_in_proportion_and_never_vanish() {
        assert_eq!(bar(100, 100).chars().count(), BAR);
        assert_eq!(bar(50, 100).chars().count(), BAR / 2);
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn values_keep_their_width() {
        let texts = [
            latency(Some(999)),
            latency(Some(1_000)),
            latency(Some(99_949)),
            latency(Some(99_950)),
            latency(Some(999_500)),
        ];
        assert_eq!(texts, ["999 µs", "1.0 ms", "99.9 ms", "100 ms", "1.0 s"]);
        assert_eq!(mebibytes(9 << 20), "9.0 MiB");
        assert_eq!(mebibytes(999 << 20), "999 MiB");
    }

    #[test]
    fn the_table_fits_a_terminal_and_says_who_failed() {
        let mut failures = Failures::default();
        failures.add(io::ErrorKind::ConnectionReset.into());
        failures.add(io::ErrorKind::UnexpectedEof.into());
        let outcome = Outcome {
            latencies: vec![999_499; 4_000_000],
            clients: 1000,
            served: 1,
            failures,
            elapsed: Duration::from_secs(4),
            usage: Some(Usage { threads: 1001, peak_memory: 999 << 20, context_switches: 9_999_999 }),
        };
        let mut out = Vec::new();
        write_report(&mut out, &[(Kind::OneAtATime, outcome)]).unwrap();
        let text = String::from_utf8(out).unwrap();

        let row = text.lines().find(|line| line.starts_with(Kind::OneAtATime.title()));
        let row: Vec<&str> = row.expect("it has a row").split("  ").map(str::trim).collect();
        let row: Vec<&str> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        let expected = ["one at a time", "1,000,000", "999 ms", "999 ms", "999", "1,001", "999 MiB", "9,999,999"];
        assert_eq!(row, expected);
        assert!(text.contains("one at a time: 2 clients failed, the first with: connection reset"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
