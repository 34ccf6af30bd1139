//! Plots as SVG: residual losses over loss rates and burst lengths, and delays of packets.

use std::{error::Error, io, ops::Range, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::{
    lab::Outcome,
    run::{Cell, Grid, Sweep},
};

/// Files that [`draw`] writes.
pub(crate) const NAMES: [&str; 3] = ["recovery-rates.svg", "recovery-bursts.svg", "recovery-delays.svg"];

const SIZE: (u32, u32) = (900, 520);
/// Colours that people with red-green colour blindness can distinguish (Okabe and Ito, and three
/// more).
const COLOURS: [RGBColor; 10] = [
    RGBColor(90, 90, 90),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(170, 30, 40),
    RGBColor(86, 180, 233),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(140, 100, 60),
];

/// One line: the measurements, and theory where it is known.
struct Line {
    name: String,
    measured: Vec<(f64, f64)>,
    theory: Vec<(f64, f64)>,
    /// Whether single points are shown.
    points: bool,
}

struct Plot<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    xs: Range<f64>,
    /// Labels of the horizontal axis.
    steps: &'a [f64],
    ys: Range<f64>,
    lines: Vec<Line>,
}

/// Draws all plots.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn draw(folder: &Path, grid: &Grid, [rates, bursts]: &[Sweep; 2]) -> io::Result<()> {
    let rates = Plot {
        title: "Packets lost for good, each lost by itself (dashed: theory)",
        x: "loss of the link, %",
        y: "lost for good, %",
        xs: 0.45..22.0,
        steps: &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0],
        ys: 1e-4..30.0,
        lines: lines(rates),
    };
    let bursts = Plot {
        title: "Packets lost for good, of 1 % lost in bursts (dashed: theory)",
        x: "mean length of the bursts, packets",
        y: "lost for good, %",
        xs: 0.93..33.0,
        steps: &[1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0],
        ys: 1e-4..2.0,
        lines: lines(bursts),
    };
    let delays = Plot {
        title: "How long packets are held back when 1 % is lost, each by itself",
        x: "delay, ms",
        y: "packets that take longer, %",
        xs: 1.0..600.0,
        steps: &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0],
        ys: 1e-3..100.0,
        lines: waits(grid),
    };
    for (name, plot) in NAMES.into_iter().zip([rates, bursts, delays]) {
        plot.draw(&folder.join(name)).map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}

/// Returns the lines of a sweep. Zero has no place on a logarithmic axis and is left out.
fn lines(sweep: &Sweep) -> Vec<Line> {
    let positive = |points: Vec<(f64, f64)>| points.into_iter().filter(|(_, y)| *y > 0.0).collect();
    let line = |(protection, cells): (&crate::lab::Protection, &Vec<Cell>)| {
        let at = |y: &dyn Fn(&Cell) -> f64| {
            sweep.xs.iter().zip(cells).map(|(x, cell)| (*x, 100.0 * y(cell))).collect()
        };
        Line {
            name: protection.to_string(),
            measured: positive(at(&|cell| cell.outcome.residual())),
            theory: positive(at(&|cell| cell.theory.unwrap_or(0.0))),
            points: true,
        }
    };
    sweep.protections.iter().zip(&sweep.cells).map(line).collect()
}

/// Returns the share of packets with a longer delay, over the delay.
fn waits(grid: &Grid) -> Vec<Line> {
    let model = grid.model("1 %");
    let shown = [
        "nothing",
        "native 10,2",
        "native 20,4",
        "native 20,4,4",
        "5x5",
        "10x10",
        "20x5",
        "two legs",
        "asking again, 20 ms",
        "asking again, 100 ms",
    ];
    let line = |(at, name): (usize, String)| {
        let measured = longer(&grid.cell(model, at).outcome);
        Line { name, measured, theory: Vec::new(), points: false }
    };
    let names = grid.protections.iter().map(ToString::to_string).enumerate();
    let shown = |(_, name): &(usize, String)| {
        shown.iter().any(|shown| name.trim_start_matches("ST 2022-1 ") == *shown)
    };
    names.filter(shown).map(line).collect()
}

fn longer(outcome: &Outcome) -> Vec<(f64, f64)> {
    let all = outcome.delays.len().max(1) as f64;
    let times = (0..=200).map(|step| 600_f64.powf(f64::from(step) / 200.0));
    let share = |ms: f64| {
        let within = outcome.delays.partition_point(|delay| f64::from(*delay) <= 1000.0 * ms);
        100.0 * (outcome.delays.len() - within) as f64 / all
    };
    times.map(|ms| (ms, share(ms))).take_while(|(_, share)| *share > 0.0).collect()
}

impl Plot<'_> {
    fn draw<'a>(&self, path: &'a Path) -> Result<(), Box<dyn Error + 'a>> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (area, legend) = root.split_horizontally(SIZE.0 - 190);
        let (xs, ys) = (self.xs.clone(), self.ys.clone());
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 17))
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(66)
            .build_cartesian_2d(xs.log_scale().with_key_points(self.steps.to_vec()), ys.log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .x_label_formatter(&|value| value.to_string())
            .y_label_formatter(&|value| value.to_string())
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let inside = |(_, y): &&(f64, f64)| *y >= self.ys.start;
            let theory = line.theory.iter().filter(inside).copied();
            chart.draw_series(DashedLineSeries::new(theory, 5, 4, colour.stroke_width(1)))?;
            let measured = line.measured.iter().filter(inside).copied();
            chart.draw_series(LineSeries::new(measured.clone(), colour.stroke_width(2)))?;
            if line.points {
                chart.draw_series(measured.map(|point| Circle::new(point, 3, colour.filled())))?;
            }
        }
        self.legend(&legend)?;
        root.present()?;
        Ok(())
    }

    fn legend<'a>(&self, area: &DrawingArea<SVGBackend<'a>, Shift>) -> Result<(), Box<dyn Error + 'a>> {
        for (at, (line, colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let y = 60 + 26 * at as i32;
            area.draw(&PathElement::new([(4, y), (30, y)], colour.stroke_width(2)))?;
            area.draw(&Text::new(line.name.clone(), (38, y - 7), ("sans-serif", 14)))?;
        }
        Ok(())
    }
}
