//! Pictures: a panel for each cell, a bar for each server, a line for the spread of its rounds.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Outcome;
use crate::measure::{bounds, median};
use crate::peer::Peer;

/// A server in a panel.
pub struct Bar {
    label: &'static str,
    colour: RGBColor,
    values: Vec<f64>,
}

impl Bar {
    pub fn new(peer: &Peer, values: Vec<f64>) -> Bar {
        // Told apart by people who see fewer colours, too (after Okabe and Ito).
        let colour = match peer.package() {
            "limit" => RGBColor(110, 110, 110),
            "bourn" => RGBColor(0, 114, 178),
            "tokio" => RGBColor(213, 94, 0),
            "smol" => RGBColor(0, 158, 115),
            "monoio" => RGBColor(204, 121, 167),
            _ => RGBColor(230, 159, 0),
        };
        Bar { label: peer.name, colour, values }
    }
}

/// A cell.
pub struct Panel {
    pub title: String,
    pub bars: Vec<Bar>,
}

const WIDTH: i32 = 860;
const LEFT: i32 = 190;
const BAR: i32 = 20;
const HEAD: i32 = 34;
const INK: RGBColor = RGBColor(40, 40, 40);

pub fn draw(path: &Path, panels: &[Panel]) -> Outcome<()> {
    let height: i32 = panels.iter().map(|panel| HEAD + 10 + BAR * panel.bars.len() as i32).sum();
    let root = SVGBackend::new(path, (WIDTH as u32, height as u32 + 16)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: f64| TextStyle::from(("sans-serif", size)).color(&INK);
    let mut y = 8;
    for panel in panels {
        root.draw(&Text::new(panel.title.clone(), (16, y + 6), text(15.0)))?;
        y += HEAD;
        let most = panel.bars.iter().map(|bar| median(bar.values.clone())).fold(f64::MIN_POSITIVE, f64::max);
        let place = |value: f64| LEFT + (value / most * f64::from(WIDTH - LEFT - 110)) as i32;
        for bar in &panel.bars {
            let value = median(bar.values.clone());
            let (low, high) = bounds(bar.values.clone());
            let middle = y + BAR / 2 - 1;
            let style = text(13.0).pos(Pos::new(HPos::Right, VPos::Center));
            root.draw(&Text::new(bar.label, (LEFT - 8, middle), style))?;
            root.draw(&Rectangle::new([(LEFT, y + 1), (place(value), y + BAR - 3)], bar.colour.filled()))?;
            let right = place(high).min(WIDTH - 70);
            root.draw(&PathElement::new([(place(low), middle), (right, middle)], INK.stroke_width(2)))?;
            let style = text(13.0).pos(Pos::new(HPos::Left, VPos::Center));
            let number = if value < 100.0 { format!("{value:.2}") } else { grouped(value) };
            root.draw(&Text::new(number, (right.max(place(value)) + 6, middle), style))?;
            y += BAR;
        }
        y += 10;
    }
    root.present()?;
    Ok(())
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
