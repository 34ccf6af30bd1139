//! Plots: lines over logarithmic or linear axes, panels side by side, as SVG.

use std::{error::Error, io, ops::Range, path::Path};

use plotters::{
    coord::{
        Shift,
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    },
    prelude::*,
};

use crate::statistics::short;

const PANEL: (u32, u32) = (480, 340);
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 181), RGBColor(200, 60, 0), RGBColor(0, 130, 70), RGBColor(130, 60, 160)];

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its name.
    pub(crate) name: String,
    /// Its points, all positive.
    pub(crate) points: Vec<(f64, f64)>,
}

/// One panel: lines over the same axes.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// Its title.
    pub(crate) title: String,
    /// Name of the horizontal axis.
    pub(crate) x: String,
    /// Name and unit of the vertical axis.
    pub(crate) y: String,
    /// Scale of both axes.
    pub(crate) scale: Scale,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// Distribution of values along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal factors have equal distances.
    Logarithmic,
    /// Equal differences have equal distances, starting at 0.
    Linear,
}

/// Draws the panels side by side, in one file.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn draw(path: &Path, panels: &[Panel]) -> io::Result<()> {
    draw_all(path, panels).map_err(|error| io::Error::other(error.to_string()))
}

fn draw_all<'a>(path: &'a Path, panels: &[Panel]) -> Result<(), Box<dyn Error + 'a>> {
    let size = (PANEL.0 * panels.len() as u32, PANEL.1);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, panel) in root.split_evenly((1, panels.len())).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    panel: &Panel,
) -> Result<(), Box<dyn Error + 'a>> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let x = Axis::over(panel.scale, points().map(|point| point.0), 1.15);
    let y = Axis::over(panel.scale, points().map(|point| point.1), 1.6);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 15))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(&panel.x)
        .y_desc(&panel.y)
        .label_style(("sans-serif", 12))
        .axis_desc_style(("sans-serif", 13))
        .x_label_formatter(&|value| label(*value))
        .y_label_formatter(&|value| label(*value))
        .draw()?;
    for (line, colour) in panel.lines.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(line.points.clone(), colour.stroke_width(2)).point_size(3))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    if panel.lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(free_corner(panel))
            .label_font(("sans-serif", 12))
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(190, 190, 190))
            .draw()?;
    }
    Ok(())
}

/// Returns the upper corner that the lines leave free: rising ones are low on the left.
fn free_corner(panel: &Panel) -> SeriesLabelPosition {
    let ends = panel.lines.iter().filter_map(|line| Some((line.points.first()?.1, line.points.last()?.1)));
    let (left, right) = ends.fold((0.0_f64, 0.0_f64), |(l, r), (first, last)| (l.max(first), r.max(last)));
    if left < right { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::UpperRight }
}

/// Formats a label: 1, 10, 1,000; fractions unchanged.
fn label(value: f64) -> String {
    let text = short(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An axis with labels at 1, 2 and 5 of each decade, or only at the decades if there are many.
struct Axis {
    scale: Scale,
    range: Range<f64>,
}

impl Axis {
    /// Creates an axis from the minimum to the maximum value, or from 0, with a margin.
    fn over(scale: Scale, values: impl Iterator<Item = f64>, room: f64) -> Axis {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        let range = match scale {
            _ if high <= 0.0 => 1.0..10.0,
            Scale::Logarithmic => low / room..high * room,
            Scale::Linear => 0.0..high * room,
        };
        Axis { scale, range }
    }

    /// Returns the largest of 1, 2 and 5 of a decade that gives at least four steps.
    fn linear_step(&self) -> f64 {
        let decade = 10_f64.powf((self.range.end / 4.0).log10().floor());
        [5.0, 2.0, 1.0]
            .map(|n| n * decade)
            .into_iter()
            .find(|step| step * 4.0 <= self.range.end)
            .unwrap_or(decade)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let Range { start, end } = self.range;
        let part = match self.scale {
            Scale::Logarithmic => (value / start).ln() / (end / start).ln(),
            Scale::Linear => (value - start) / (end - start),
        };
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let Range { start, end } = self.range;
        if self.scale == Scale::Linear {
            let step = self.linear_step();
            return (0..=(end / step) as u32).map(|i| f64::from(i) * step).collect();
        }
        let decades = start.log10().floor() as i32..=end.log10().ceil() as i32;
        let steps: &[f64] = if (end / start).log10() > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|value| self.range.contains(value)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {}
