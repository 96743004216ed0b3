//! Pictures of measurements: an SVG for people and a CSV of the same numbers.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Told apart by people who see fewer colours, too (after Okabe and Ito).
const PALETTE: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(150, 20, 60),
    RGBColor(240, 228, 66),
];
const WIDTH: u32 = 860;
const INK: RGBColor = RGBColor(40, 40, 40);

/// What can go wrong with a file or a drawing.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An axis: what it measures, with the unit, and how.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// For example `time (ms)`.
    pub label: &'static str,
    /// Whether each step is a factor of ten.
    pub logarithmic: bool,
}

/// A part of a row of a [`timeline`].
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where it begins, in the unit of the axis.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Which entry of the legend it is.
    pub kind: usize,
}

/// Rows of a [`timeline`] below one heading.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The heading.
    pub title: String,
    /// The rows: what stands left of each, and its parts.
    pub rows: Vec<(String, Vec<Span>)>,
}

/// Bars of one measure.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The measure and its unit.
    pub title: String,
    /// What each bar stands for, and how long it is.
    pub bars: Vec<(String, f64)>,
}

/// Where pictures go: `BOURN_PICTURES`, by default `target/pictures` below the current folder.
fn folder() -> Result<PathBuf> {
    let folder = std::env::var_os("BOURN_PICTURES").map_or_else(|| PathBuf::from("target/pictures"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn save(name: &str, csv: &str) -> Result<PathBuf> {
    let folder = folder()?;
    fs::write(folder.join(name).with_extension("csv"), csv)?;
    let svg = folder.join(name).with_extension("svg");
    println!("   picture: {} (and the numbers beside it, .csv)", svg.display());
    Ok(svg)
}

fn text(size: f64) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size)).color(&INK)
}

fn root<'a>(svg: &'a Path, height: u32, title: &str) -> Result<Area<'a>> {
    let root = SVGBackend::new(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title.to_string(), (16, 12), text(19.0)))?;
    Ok(root)
}

/// Draws curves.
pub fn lines(name: &str, title: &str, x: Axis, y: Axis, curves: &[(&str, Vec<(f64, f64)>)]) -> Result<()> {
    let mut csv = format!("curve,{},{}\n", x.label, y.label);
    for (curve, points) in curves {
        for (x, y) in points {
            writeln!(csv, "{curve},{x},{y}")?;
        }
    }
    let svg = save(name, &csv)?;
    let root = root(&svg, 480, title)?;
    let (_, below) = root.split_vertically(44);
    let points = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let bounds = |values: &dyn Fn() -> Vec<f64>, logarithmic| {
        let high = values().into_iter().fold(f64::MIN, f64::max);
        let low = values().into_iter().fold(f64::MAX, f64::min);
        if logarithmic { low * 0.8..high * 1.5 } else { low.min(0.0)..high * 1.06 }
    };
    let across = bounds(&|| points().map(|point| point.0).collect(), x.logarithmic);
    let up = bounds(&|| points().map(|point| point.1).collect(), y.logarithmic);
    let mut builder = ChartBuilder::on(&below);
    builder.margin_left(14).margin_right(24).margin_bottom(8).x_label_area_size(48).y_label_area_size(76);
    macro_rules! draw {
        ($across:expr, $up:expr) => {{
            let mut chart = builder.build_cartesian_2d($across, $up)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(BLACK.mix(0.12))
                .x_desc(x.label)
                .y_desc(y.label)
                .axis_desc_style(text(15.0))
                .label_style(text(13.0))
                .x_label_formatter(&|value| number(*value))
                .y_label_formatter(&|value| number(*value))
                .draw()?;
            for (index, (curve, points)) in curves.iter().enumerate() {
                let colour = PALETTE[index % PALETTE.len()];
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(3)))?
                    .label(*curve)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.2))
                .label_font(text(14.0))
                .draw()?;
        }};
    }
    match (x.logarithmic, y.logarithmic) {
        (false, false) => draw!(across, up),
        (true, false) => draw!(across.log_scale(), up),
        (false, true) => draw!(across, up.log_scale()),
        (true, true) => draw!(across.log_scale(), up.log_scale()),
    }
    root.present()?;
    Ok(())
}

/// Draws what happened when: a row for each thing, a colour for each state.
pub fn timeline(name: &str, title: &str, x: &str, row: u32, legend: &[&str], lanes: &[Lane]) -> Result<()> {
    let mut csv = format!("lane,row,from,to,{x}\n");
    let spans = || lanes.iter().flat_map(|lane| &lane.rows).flat_map(|(_, spans)| spans);
    for lane in lanes {
        for (label, spans) in &lane.rows {
            for span in spans {
                writeln!(csv, "\"{}\",{label},{},{},{}", lane.title, span.from, span.to, legend[span.kind])?;
            }
        }
    }
    let svg = save(name, &csv)?;
    let end = spans().map(|span| span.to).fold(0.0, f64::max);
    let rows: u32 = lanes.iter().map(|lane| 30 + row * lane.rows.len() as u32).sum();
    let root = root(&svg, 78 + rows + 54, title)?;
    let mut at = 16;
    for (kind, entry) in legend.iter().enumerate() {
        root.draw(&Rectangle::new([(at, 46), (at + 14, 60)], PALETTE[kind].filled()))?;
        root.draw(&Text::new(entry.to_string(), (at + 19, 46), text(14.0)))?;
        at += 46 + 7 * entry.chars().count() as i32;
    }
    let left = if lanes.iter().flat_map(|lane| &lane.rows).all(|(label, _)| label.is_empty()) { 16 } else { 96 };
    let place = |value: f64| left + (value / end * f64::from(WIDTH as i32 - left - 24)) as i32;
    let step = step(end);
    let bottom = (78 + rows) as i32;
    for tick in 0..=(end / step + 1e-9) as i32 {
        let value = f64::from(tick) * step;
        root.draw(&PathElement::new([(place(value), 76), (place(value), bottom)], BLACK.mix(0.12)))?;
        let style = text(13.0).pos(Pos::new(HPos::Center, VPos::Top));
        root.draw(&Text::new(number(value), (place(value), bottom + 6), style))?;
    }
    let style = text(15.0).pos(Pos::new(HPos::Center, VPos::Top));
    root.draw(&Text::new(x.to_string(), (WIDTH as i32 / 2, bottom + 26), style))?;
    let mut y = 78;
    for lane in lanes {
        root.draw(&Text::new(lane.title.clone(), (16, y + 9), text(15.0)))?;
        y += 30;
        for (label, spans) in &lane.rows {
            let style = text(13.0).pos(Pos::new(HPos::Right, VPos::Center));
            root.draw(&Text::new(label.clone(), (left - 8, y + row as i32 / 2), style))?;
            for span in spans {
                let right = place(span.to).max(place(span.from) + 1);
                let gap = if row > 6 { 3 } else { 0 };
                let corners = [(place(span.from), y), (right, y + row as i32 - gap)];
                root.draw(&Rectangle::new(corners, PALETTE[span.kind].filled()))?;
            }
            y += row as i32;
        }
    }
    root.present()?;
    Ok(())
}

/// Draws bars, a panel for each measure, with the number beside each bar.
pub fn bars(name: &str, title: &str, panels: &[Panel]) -> Result<()> {
    let mut csv = String::from("measure,what,value\n");
    for panel in panels {
        for (label, value) in &panel.bars {
            writeln!(csv, "\"{}\",\"{label}\",{value}", panel.title)?;
        }
    }
    let svg = save(name, &csv)?;
    let height: u32 = panels.iter().map(|panel| 42 + 24 * panel.bars.len() as u32).sum();
    let root = root(&svg, 52 + height, title)?;
    let left = 230;
    let mut y = 46;
    for panel in panels {
        root.draw(&Text::new(panel.title.clone(), (16, y + 6), text(15.0)))?;
        y += 32;
        let high = panel.bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
        for (index, (label, value)) in panel.bars.iter().enumerate() {
            let style = text(14.0).pos(Pos::new(HPos::Right, VPos::Center));
            root.draw(&Text::new(label.clone(), (left - 8, y + 10), style))?;
            let right = left + 1 + (value / high * f64::from(WIDTH as i32 - left - 110)) as i32;
            root.draw(&Rectangle::new([(left, y + 1), (right, y + 20)], PALETTE[index % PALETTE.len()].filled()))?;
            let style = text(14.0).pos(Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(number(*value), (right + 6, y + 10), style))?;
            y += 24;
        }
        y += 10;
    }
    root.present()?;
    Ok(())
}

/// A round distance between ticks: about eight of them.
fn step(end: f64) -> f64 {
    let rough = end / 8.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(power)
}

/// Three digits that matter, thousands apart.
fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 6) };
    let text = format!("{value:.*}", digits as usize);
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && digit.is_ascii_digit() && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { out } else { format!("{out}.{rest}") }
}
