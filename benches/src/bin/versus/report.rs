//! What was found, as Markdown, CSV and pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::measure::{Figures, Plan, Row, bounds, median, spread_of};
use crate::peer::{self, BOURN, LIMIT, TOKIO};
use crate::plot::{self, Panel, grouped};
use crate::workload;
use crate::{Outcome, sys};

/// A target and what became of it.
pub struct Verdict {
    pub what: String,
    pub measured: String,
    pub target: String,
    /// By all that was measured together.
    pub met: bool,
    /// And by each of the passes alone.
    pub passes: Vec<bool>,
}

impl Verdict {
    /// What is counted once.
    pub fn once(what: String, measured: String, target: String, met: bool) -> Verdict {
        Verdict { what, measured, target, met, passes: Vec::new() }
    }

    /// The values are those of all rounds, in the order of the passes, of which each has so many.
    pub fn at_most(what: String, values: &[f64], bound: f64, digits: usize, rounds: usize) -> Verdict {
        Verdict::of(what, values, ("at most", bound), digits, rounds, |value| value <= bound)
    }

    pub fn at_least(what: String, values: &[f64], bound: f64, digits: usize, rounds: usize) -> Verdict {
        Verdict::of(what, values, ("at least", bound), digits, rounds, |value| value >= bound)
    }

    fn of(
        what: String,
        values: &[f64],
        (word, bound): (&str, f64),
        digits: usize,
        rounds: usize,
        meets: impl Fn(f64) -> bool,
    ) -> Verdict {
        // What is shown is what is judged.
        let meets = |values: &[f64]| meets(round(median(values.to_vec()), digits));
        let passes: Vec<bool> = values.chunks(rounds.max(1)).map(meets).collect();
        Verdict {
            what,
            measured: spread(values, digits),
            target: format!("{word} {bound:.digits$}"),
            met: meets(values),
            passes: if passes.len() > 1 { passes } else { Vec::new() },
        }
    }

    /// Met by all together, and by each pass.
    fn words(&self) -> String {
        let (all, met) = (self.passes.len(), self.passes.iter().filter(|met| **met).count());
        match (self.met, all) {
            (true, _) if met == all => "met".to_owned(),
            (false, 0) => "**missed**".to_owned(),
            _ => format!("**missed** ({met} of {all} passes met it)"),
        }
    }
}

fn round(value: f64, digits: usize) -> f64 {
    let factor = 10_f64.powi(digits as i32);
    (value * factor).round() / factor
}

/// The median, and in brackets how far the values lie apart.
pub fn spread(values: &[f64], digits: usize) -> String {
    let value = median(values.to_vec());
    if values.len() < 2 {
        return format!("{value:.digits$}");
    }
    let (low, high) = bounds(values.to_vec());
    format!("{value:.digits$} ({low:.digits$} to {high:.digits$})")
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
    pub fn of_rows(workload: &'static str, rows: &[Row], rounds: usize) -> Section {
        let mut section = Section::new(workload, workload::heading(workload));
        section.say(workload::words(workload));
        for row in rows {
            section.add(row, rounds);
        }
        section
    }

    /// So many rounds are a pass.
    fn add(&mut self, row: &Row, rounds: usize) {
        let (cell, unit) = (&row.cell, row.cell.unit());
        let sending = cell.sending.name();
        _ = write!(
            self.markdown,
            "**{}, {sending}**{}. {}{}{}\n\n",
            cell.title,
            if cell.is_pinned() { "" } else { " (nothing pinned)" },
            generator(row),
            agreement(row, rounds),
            row.noise.words(),
        );
        self.table(&[
            "server",
            cell.rate(),
            &format!("CPU us/{unit}"),
            "busy",
            "over the limit",
            "over tokio",
            "p50 us",
            "p99 us",
            "p99.9 us",
            &format!("switches/{unit}"),
            "threads",
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
                format!("{:.0} %", 100.0 * result.busy()),
                over(LIMIT),
                over(TOKIO),
                latency(500),
                latency(990),
                latency(999),
                result.switches().map_or("-".to_owned(), |switches| format!("{switches:.3}")),
                result.threads.to_string(),
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
        self.judge(row, rounds);
    }

    /// The targets of issue 6 for one row.
    fn judge(&mut self, row: &Row, rounds: usize) {
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
            self.verdicts.push(Verdict::at_most(what("CPU over the limit"), &cost(LIMIT), bound, 3, rounds));
        }
        if title == "echo 64 B, 64 connections, 2 workers" {
            self.verdicts.push(Verdict::at_most(what("CPU over tokio"), &cost(TOKIO), 1.00, 3, rounds));
            let rates = row.ratios(BOURN, LIMIT, |figures| figures.rate);
            self.verdicts.push(Verdict::at_least(what("requests/s over the limit"), &rates, 1.02, 3, rounds));
        }
        if row.cell.workload == workload::CHURN {
            self.verdicts.push(Verdict::at_most(what("CPU over tokio"), &cost(TOKIO), 0.93, 3, rounds));
        }
    }
}

/// Whether the generator is cheaper than the servers.
fn generator(row: &Row) -> String {
    let dearest = row.results.iter().max_by(|a, b| Row::generator_over(a).total_cmp(&Row::generator_over(b)));
    let Some(dearest) = dearest else { return String::new() };
    let of = |peer| row.of(peer).map_or(f64::NAN, Row::generator_over);
    let shares = format!("{:.2} of the limit's, {:.2} of bourn's, {:.2} of tokio's", of(LIMIT), of(BOURN), of(TOKIO));
    if Row::generator_over(dearest) < 1.0 {
        return format!("The generator is cheaper than every server: it uses {shares} processor time.");
    }
    let name = dearest.peer.name;
    let more = if [LIMIT, BOURN, TOKIO].contains(&name) {
        String::new()
    } else {
        format!(", {:.2} of {name}'s", Row::generator_over(dearest))
    };
    format!("The generator is **not cheaper than every server**: it uses {shares}{more} processor time.")
}

/// Which runtime is the cheapest, and how often bourn is before tokio; by the medians of each pass.
fn agreement(row: &Row, rounds: usize) -> String {
    let passes = row.results.first().map_or(0, |result| result.figures.len().div_ceil(rounds));
    if passes < 2 {
        return String::new();
    }
    let cost = |name: &str, pass: usize| {
        let figures = row.of(name).and_then(|result| result.figures.chunks(rounds).nth(pass)).unwrap_or_default();
        median(figures.iter().map(|figures| figures.cost).collect())
    };
    let runtimes =
        || row.results.iter().map(|result| result.peer).filter(|peer| !peer.is_variant() && peer.name != LIMIT);
    let cheapest = |pass: usize| {
        let best = runtimes().min_by(|a, b| cost(a.name, pass).total_cmp(&cost(b.name, pass)));
        best.map_or("nobody", |peer| peer.name)
    };
    let winners: Vec<&str> = (0..passes).map(cheapest).collect();
    let before = (0..passes).filter(|pass| cost(BOURN, *pass) < cost(TOKIO, *pass)).count();
    let agree = if winners.iter().all(|winner| *winner == winners[0]) {
        format!("**All {passes} passes agree** that of the runtimes {} is the cheapest", winners[0])
    } else {
        format!("The {passes} passes **do not agree** on the cheapest of the runtimes ({})", winners.join("; "))
    };
    format!(" {agree}; bourn is cheaper than tokio in {before} of {passes}.")
}

/// Where the report goes.
pub enum Place {
    /// The handbook.
    Docs,
    /// Beside what was built.
    Target,
}

/// Writes a part of the handbook, which stands between marks that name it.
pub fn replace(part: &str, text: &str) -> Outcome<()> {
    let page = peer::root().join("docs/benchmarks.md");
    let begin = format!("<!-- {part}: begin; written by the program, not by hand -->");
    let end = format!("<!-- {part}: end -->");
    let old = fs::read_to_string(&page)?;
    let (before, rest) = old.split_once(&begin).ok_or("docs/benchmarks.md has no place for this")?;
    let (_, after) = rest.split_once(&end).ok_or("the place for this has no end")?;
    fs::write(&page, format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim_end()))?;
    println!("{}", page.display());
    Ok(())
}

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
         * *One by one*: the generator sends a message with each system call. When epoll has less than a quarter of the\n\
         \x20 answers for it, it sleeps as long as a quarter should take, at most 200 us, so that the server need not wake it for\n\
         \x20 each. *Bursts*: it waits for a quarter of the answers (of bulk, for one), and sends as many requests with one system\n\
         \x20 call (io_uring). Either way an answer waits for others before its time is taken.\n\
         * *The generator* has a budget of its own: one thread, and for each message hardly a look at the clock and no allocation (of bulk in\n\
         \x20 bursts, one for a batch).\n\
         \x20 One by one, the kernel asks the same of both sides, a `send` and a `recv`, so that the generator can not be\n\
         \x20 cheaper than the limit, which does nothing else; it is to be cheaper than what has a runtime to carry. A\n\
         \x20 connection that is made costs who connects more than who accepts, for on loopback the kernel does the handshake\n\
         \x20 in the call that connects. *Busy* is what a server used of a processor: where that is near 100 % (of one\n\
         \x20 thread), the server was what bounded the rate, and not the generator.\n\
         * Servers of one thread run on the first processor, the generator on another. With several workers nothing is\n\
         \x20 pinned, and on two processors the generator takes part of them.\n\
         * All servers of a row are up; each is asked for {} ms, in an order that is shuffled for each round from a fixed\n\
         \x20 seed. {} rounds, {} times (passes). For each round the servers are started anew: a process costs some 3 % more or\n\
         \x20 less than the next one of the same program, partly by where its memory lies. Ratios are between slices of the same\n\
         \x20 round: the median of all rounds, and in brackets {}. A target is met when the median of all rounds meets\n\
         \x20 it and that of each pass does.\n\
         * *CPU* is the processor time of all threads of the server, from the kernel's clock of that process, which is what\n\
         \x20 `/proc/PID/task/*/schedstat` counts, with threads that have ended.\n\
         * *Threads* is how many the server's process has at the end of a round. A second one, whatever it does, makes each\n\
         \x20 system call of the first dearer: the kernel then counts the users of a descriptor in each call, and libc's can be\n\
         \x20 cancelled. None of them is there for the comparison.\n\
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
        plan.passes,
        spread_of(plan.rounds * plan.passes),
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
        let Verdict { what, measured, target, .. } = verdict;
        _ = writeln!(text, "| {what} | {measured} | {target} | {} |", verdict.words());
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
        Place::Docs => replace("versus", &text)?,
        Place::Target => {
            let page = folder.join("benchmarks.md");
            fs::write(&page, format!("# Head to head\n\n{text}"))?;
            println!("{}", page.display());
        }
    }
    Ok(())
}
