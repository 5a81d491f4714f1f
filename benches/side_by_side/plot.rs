//! The picture of a run: per case, the CPU per request of each variant over that of Envoy's own mirroring.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::case::Variant;
use crate::report::{CaseReport, Report};
use crate::stats::{median, quantile};
use crate::Result;

const HEIGHT: u32 = 480;
/// Room for the axis and the margins, and for each case.
const WIDTH: (u32, u32) = (80, 96);
/// The most variants of one case.
const MOST_BARS: usize = 4;
/// How much of a case's place its bars fill.
const FILLED: f64 = 0.8;

fn colour(variant: Variant) -> RGBColor {
    match variant {
        Variant::None => RGBColor(0xb0, 0xb0, 0xb0),
        Variant::Native => RGBColor(0x4e, 0x79, 0xa7),
        Variant::NativeAgain => RGBColor(0x9c, 0xb8, 0xd4),
        Variant::Lua => RGBColor(0xf2, 0x8e, 0x2b),
        Variant::Sdk => RGBColor(0xb0, 0x7a, 0xa1),
        Variant::OneRule => RGBColor(0x9c, 0xd1, 0x8f),
        Variant::Sidecast => RGBColor(0x59, 0xa1, 0x4f),
    }
}

const CENTRED: Pos = Pos { h_pos: HPos::Center, v_pos: VPos::Center };

/// Draws `report` as an SVG file.
pub(crate) fn draw(report: &Report, path: &Path) -> Result<()> {
    let cases: Vec<&CaseReport> = report.cases.iter().filter(|case| case.case.variants.contains(&case.case.base())).collect();
    let ratios = |case: &CaseReport, variant| case.cpu_ratios(variant, case.case.base());
    let highest = cases
        .iter()
        .flat_map(|case| case.case.variants.iter().filter_map(|&variant| quantile(&ratios(case, variant), 0.75)))
        .fold(1.2, f64::max);

    // The caption and the legend need some room, too.
    let width = WIDTH.0 + WIDTH.1 * (cases.len() as u32).max(7);
    let area = SVGBackend::new(path, (width, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    // A case takes one unit of the x axis.
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "Envoy's CPU time per request, native mirroring = 1 (where nothing is mirrored: no filter = 1)",
            ("sans-serif", 20),
        )
        .margin(12)
        .x_label_area_size(60)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..cases.len() as f64, 0.0..highest * 1.1)?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().max_light_lines(0).draw()?;
    let plane = chart.plotting_area();
    let (across, down) = plane.get_pixel_range();
    let centred = |size: i32| ("sans-serif", size).into_font().into_text_style(&area).pos(CENTRED);

    for (place, case) in cases.iter().enumerate() {
        let place = place as f64;
        let name = plane.map_coordinate(&(place + 0.5, 0.0));
        area.draw(&Text::new(case.case.name.clone(), (name.0, name.1 + 18), centred(12)))?;
        let variants = &case.case.variants;
        // As wide as with the most variants, and in the middle.
        let bar = FILLED / MOST_BARS as f64;
        let first = place + (1.0 - bar * variants.len() as f64) / 2.0;
        for (index, &variant) in variants.iter().enumerate() {
            let values = ratios(case, variant);
            let (Some(low), Some(middle), Some(high)) = (quantile(&values, 0.25), median(&values), quantile(&values, 0.75))
            else {
                continue;
            };
            let (left, right) = (first + bar * index as f64, first + bar * (index as f64 + 0.95));
            let centre = (left + right) / 2.0;
            plane.draw(&Rectangle::new([(left, 0.0), (right, middle)], colour(variant).filled()))?;
            plane.draw(&PathElement::new([(centre, low), (centre, high)], BLACK))?;
            let above = plane.map_coordinate(&(centre, high));
            let text = format!("{middle:.2}");
            area.draw(&Text::new(text, (above.0, above.1 - 8), centred(10)))?;
        }
    }
    let shown = |variant: &Variant| cases.iter().any(|case| case.case.variants.contains(variant));
    for (index, variant) in Variant::ALL.into_iter().filter(shown).enumerate() {
        let (left, top) = (across.start + 12 + 90 * index as i32, down.end + 36);
        area.draw(&Rectangle::new([(left, top), (left + 10, top + 10)], colour(variant).filled()))?;
        area.draw(&Text::new(variant.to_string(), (left + 15, top), ("sans-serif", 12)))?;
    }
    area.present()?;
    Ok(())
}
