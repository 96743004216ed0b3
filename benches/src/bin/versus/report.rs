//! What was found, as Markdown, CSV and pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::measure::{Figures, Plan, Row, median, quartiles};
use crate::peer::{self, BOURN, LIMIT, TOKIO};
use crate::plot::{self, Panel};
use crate::workload;
use crate::{Outcome, sys};

/// A target and what became of it.
pub struct Verdict {
    pub what: String,
    pub measured: String,
    pub target: String,
    pub met: bool,
}

impl Verdict {
    pub fn at_most(what: String, values: &[f64], bound: f64, digits: usize) -> Verdict {
        let value = median(values.to_vec());
        // What is shown is what is judged.
        let met = round(value, digits) <= bound;
        Verdict { what, measured: spread(values, digits), target: format!("at most {bound:.digits$}"), met }
    }

    pub fn at_least(what: String, values: &[f64], bound: f64, digits: usize) -> Verdict {
        let value = median(values.to_vec());
        let met = round(value, digits) >= bound;
        Verdict { what, measured: spread(values, digits), target: format!("at least {bound:.digits$}"), met }
    }
}

fn round(value: f64, digits: usize) -> f64 {
    let factor = 10_f64.powi(digits as i32);
    (value * factor).round() / factor
}

/// The median, and in brackets the middle half.
pub fn spread(values: &[f64], digits: usize) -> String {
    let value = median(values.to_vec());
    if values.len() < 2 {
        return format!("{value:.digits$}");
    }
    let (low, high) = quartiles(values.to_vec());
    format!("{value:.digits$} ({low:.digits$} to {high:.digits$})")
}

/// Thousands apart.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub fn micros(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 100.0 { format!("{micros:.1}") } else { grouped(micros) }
}

/// A part of the report.
pub struct Section {
    name: &'static str,
    markdown: String,
    csv: String,
    panels: Vec<Panel>,
    pub verdicts: Vec<Verdict>,
}

impl Section {
    pub fn new(name: &'static str, heading: &str) -> Section {
        let markdown = format!("### {heading}\n\n");
        Section { name, markdown, csv: String::new(), panels: Vec::new(), verdicts: Vec::new() }
    }

    pub fn say(&mut self, text: &str) {
        self.markdown += text;
    }

    /// The head of a table.
    pub fn table(&mut self, columns: &[&str]) {
        self.markdown += &format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    }

    pub fn row(&mut self, fields: &[String]) {
        self.markdown += &format!("| {} |\n", fields.join(" | "));
    }

    /// A line of the CSV.
    pub fn record(&mut self, cell: &str, sending: &str, server: &str, round: usize, figure: &str, value: f64) {
        self.csv += &format!("\"{cell}\",{sending},\"{server}\",{round},{figure},{value}\n");
    }

    pub fn draw(&mut self, panel: Panel) {
        self.panels.push(panel);
    }

    /// The cells of a workload in which processor time for each request is what counts.
    pub fn of_rows(workload: &'static str, heading: &str, rows: &[Row]) -> Section {
        let mut section = Section::new(workload, heading);
        for row in rows {
            section.add(row);
        }
        section
    }

    fn add(&mut self, row: &Row) {
        let (cell, unit) = (&row.cell, row.cell.unit());
        let sending = cell.sending.name();
        let generator = row.generator_share();
        _ = write!(
            self.markdown,
            "**{}, {sending}**{}. The generator's processor time is at most {generator:.2} of a server's{}.{}\n\n",
            cell.title,
            if cell.is_pinned() { "" } else { " (nothing pinned)" },
            if generator < 1.0 { "" } else { ": **here it is not cheaper than the cheapest of them**" },
            match (row.repeated, row.noisy) {
                (0, _) => String::new(),
                (repeated, 0) => format!(" Rounds repeated for noise: {repeated}."),
                (repeated, noisy) => format!(" Rounds repeated for noise: {repeated}; noisy ones that count: {noisy}."),
            },
        );
        self.table(&[
            "server",
            cell.rate(),
            &format!("CPU us/{unit}"),
            "over the limit",
            "over tokio",
            "p50 us",
            "p99 us",
            "p99.9 us",
            &format!("switches/{unit}"),
        ]);
        let cost = |figures: &Figures| figures.cost;
        for result in &row.results {
            let name = result.peer.name;
            let costs: Vec<f64> = result.figures.iter().map(cost).collect();
            let rates = result.figures.iter().map(|figures| figures.rate).collect();
            let over = |other| if name == other { "1".to_owned() } else { spread(&row.ratios(name, other, cost), 3) };
            // Bytes without end have no latency.
            let latency = |mille| {
                let time = result.latencies.per_mille(mille);
                if time.is_zero() { "-".to_owned() } else { micros(time) }
            };
            let fields = [
                if name == BOURN { format!("**{name}**") } else { name.to_owned() },
                grouped(median(rates)),
                format!("{:.2}", median(costs.clone())),
                over(LIMIT),
                over(TOKIO),
                latency(500),
                latency(990),
                latency(999),
                result.switches.map_or("-".to_owned(), |switches| format!("{switches:.3}")),
            ];
            self.row(&fields);
            for (round, figures) in result.figures.iter().enumerate() {
                self.record(&cell.title, sending, name, round, "per second", figures.rate);
                self.record(&cell.title, sending, name, round, "cpu us", figures.cost);
                self.record(&cell.title, sending, name, round, "generator cpu us", figures.generator);
            }
            for (figure, mille) in [("p50 us", 500), ("p99 us", 990), ("p99.9 us", 999)] {
                let time = result.latencies.per_mille(mille).as_secs_f64() * 1e6;
                self.record(&cell.title, sending, name, 0, figure, time);
            }
        }
        self.markdown += "\n";
        self.draw(Panel {
            title: format!("{}: CPU us/{unit}", cell.key()),
            bars: row
                .results
                .iter()
                .map(|result| plot::Bar::new(&result.peer, result.figures.iter().map(cost).collect()))
                .collect(),
        });
        self.judge(row);
    }

    /// The targets of issue 6 for one row.
    fn judge(&mut self, row: &Row) {
        let cost = |over| row.ratios(BOURN, over, |figures| figures.cost);
        let what = |of: &str| format!("{}: {of}", row.cell.key());
        let title = row.cell.title.as_str();
        let over_limit = match title {
            "echo 64 B, 1 connection" | "echo 64 B, 64 connections" | "echo 64 B, 256 connections" => Some(1.02),
            "HTTP hello, 64 connections" => Some(1.02),
            "echo 16 KiB, 64 connections" => Some(1.04),
            _ => None,
        };
        if let Some(bound) = over_limit {
            self.verdicts.push(Verdict::at_most(what("CPU over the limit"), &cost(LIMIT), bound, 3));
        }
        if title == "echo 64 B, 64 connections, 2 workers" {
            self.verdicts.push(Verdict::at_most(what("CPU over tokio"), &cost(TOKIO), 1.00, 3));
            let rates = row.ratios(BOURN, LIMIT, |figures| figures.rate);
            self.verdicts.push(Verdict::at_least(what("requests/s over the limit"), &rates, 1.02, 3));
        }
        if row.cell.workload == workload::CHURN {
            self.verdicts.push(Verdict::at_most(what("CPU over tokio"), &cost(TOKIO), 0.93, 3));
        }
    }
}

/// Where the report goes.
pub enum Place {
    /// The handbook.
    Docs,
    /// Beside what was built.
    Target,
}

const BEGIN: &str = "<!-- versus: begin; written by the program, not by hand -->";
const END: &str = "<!-- versus: end -->";

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(peer::root()).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

fn head(command: &str, plan: Plan, took: Duration) -> Outcome<String> {
    let version = |package, krate| peer::version(package, krate);
    let changed = if output("git", &["status", "--porcelain", "runtime", "net", "benches"]).is_empty() {
        ""
    } else {
        ", changed"
    };
    Ok(format!(
        "```console\n{command}\n```\n\n\
         bourn at commit {}{changed}; tokio {}, smol {}, monoio {}; {}; {}; {} processors, {}. Each server is a package\n\
         and a build of its own, release profile, with the same listener options, `TCP_NODELAY` and backlog.\n\n\
         * *The limit* is a loop over epoll, with the system calls of one connection and no futures.\n\
         * *One by one*: the generator sends a message with each system call, and epoll tells it of answers. *Bursts*: it\n\
         \x20 waits for a quarter of the answers, and sends as many requests with one system call (io_uring); an answer\n\
         \x20 waits for others before its time is taken.\n\
         * Servers of one thread run on the first processor, the generator on another. With several workers nothing is\n\
         \x20 pinned, and on two processors the generator takes part of them.\n\
         * All servers of a row are up; each is asked for {} ms in turn, {} rounds. Ratios are between slices of the same\n\
         \x20 round: the median, and in brackets the middle half.\n\
         * *CPU* is the processor time of all threads of the server, from the kernel's clock of that process, which is what\n\
         \x20 `/proc/PID/task/*/schedstat` counts, with threads that have ended.\n\
         * A round is repeated when more than 2 % of the machine's processor time went to others (`/proc/stat`), stolen time\n\
         \x20 among it.\n\
         * The whole took {:.0} minutes. All figures of all rounds: [benchmarks.csv](benchmarks.csv).\n\n",
        output("git", &["rev-parse", "--short=12", "HEAD"]),
        version("tokio", "tokio")?,
        version("smol", "smol")?,
        version("monoio", "monoio")?,
        output("uname", &["-sr"]),
        output("rustc", &["--version"]),
        sys::processors().len(),
        processor(),
        plan.slice.as_millis(),
        plan.rounds,
        took.as_secs_f64() / 60.0,
    ))
}

/// Writes everything.
pub fn write(
    place: &Place,
    sections: &[Section],
    failures: &[String],
    command: &str,
    plan: Plan,
    took: Duration,
) -> Outcome<()> {
    let (folder, pictures): (PathBuf, PathBuf) = match place {
        Place::Docs => (peer::root().join("docs"), peer::root().join("docs/pictures")),
        Place::Target => (peer::target(), peer::target()),
    };
    fs::create_dir_all(&pictures)?;
    let mut text = head(command, plan, took)?;
    text += "### Targets\n\n| row | measured | target | |\n|---|---|---|---|\n";
    for verdict in sections.iter().flat_map(|section| &section.verdicts) {
        let Verdict { what, measured, target, met } = verdict;
        _ = writeln!(text, "| {what} | {measured} | {target} | {} |", if *met { "met" } else { "**missed**" });
    }
    text += "\n";
    for failure in failures {
        _ = write!(text, "**Not measured**: {failure}\n\n");
    }
    let mut csv = String::from("cell,sending,server,round,figure,value\n");
    for section in sections {
        text += section.markdown.trim_end();
        text += "\n\n";
        csv += &section.csv;
        if !section.panels.is_empty() {
            let name = format!("versus_{}.svg", section.name);
            plot::draw(&pictures.join(&name), &section.panels)?;
            let path = if matches!(place, Place::Docs) { format!("pictures/{name}") } else { name };
            _ = write!(text, "![{}: processor time of each server]({path})\n\n", section.name);
        }
    }
    fs::write(folder.join("benchmarks.csv"), csv)?;
    match place {
        Place::Docs => {
            let page = folder.join("benchmarks.md");
            let old = fs::read_to_string(&page)?;
            let (before, rest) = old.split_once(BEGIN).ok_or("docs/benchmarks.md has no place for this")?;
            let (_, after) = rest.split_once(END).ok_or("the place for this has no end")?;
            fs::write(&page, format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim_end()))?;
            println!("{}", page.display());
        }
        Place::Target => {
            let page = folder.join("benchmarks.md");
            fs::write(&page, format!("# Head to head\n\n{text}"))?;
            println!("{}", page.display());
        }
    }
    Ok(())
}
