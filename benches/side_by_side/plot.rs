//! The picture of a run: per case, the CPU per request of each variant over that of Envoy's own mirroring.

use std::path::Path;

use plotters::prelude::*;

use crate::case::Variant;
use crate::report::{CaseReport, Report};
use crate::stats::{median, quantile};
use crate::Result;

const SIZE: (u32, u32) = (1120, 480);
/// How much of a case's place its bars fill.
const FILLED: f64 = 0.8;

fn colour(variant: Variant) -> RGBColor {
    match variant {
        Variant::None => RGBColor(0xb0, 0xb0, 0xb0),
        Variant::Native => RGBColor(0x4e, 0x79, 0xa7),
        Variant::Lua => RGBColor(0xf2, 0x8e, 0x2b),
        Variant::Sidecast => RGBColor(0x59, 0xa1, 0x4f),
    }
}

/// What a case's bars are over: native mirroring, or no filter where nothing is mirrored.
fn base(case: &CaseReport) -> Variant {
    if case.case.matching {
        Variant::Native
    } else {
        Variant::None
    }
}

/// Draws `report` as an SVG file.
pub(crate) fn draw(report: &Report, path: &Path) -> Result<()> {
    let cases: Vec<&CaseReport> = report
        .cases
        .iter()
        .filter(|case| case.case.variants.contains(&base(case)))
        .collect();
    let ratios = |case: &CaseReport, variant| case.cpu_ratios(variant, base(case));
    let highest = cases
        .iter()
        .flat_map(|case| {
            case.case
                .variants
                .iter()
                .flat_map(|&variant| ratios(case, variant))
        })
        .fold(1.2, f64::max);

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "Envoy's CPU time per request, native mirroring = 1 (no match: no filter = 1)",
            ("sans-serif", 20),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d((0..cases.len()).into_segmented(), 0.0..highest * 1.05)?;
    let label = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(index) => cases
            .get(*index)
            .map_or(String::new(), |case| case.case.to_string()),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(cases.len().max(1))
        .x_label_formatter(&label)
        .draw()?;

    // Bars are placed in pixels: a segmented axis has no positions within a segment.
    let plane = chart.plotting_area();
    let (across, down) = plane.get_pixel_range();
    let width = f64::from(across.end - across.start) / cases.len().max(1) as f64;
    let y = |value: f64| plane.map_coordinate(&(SegmentValue::CenterOf(0), value)).1;
    for (place, case) in cases.iter().enumerate() {
        let variants = &case.case.variants;
        let bar = width * FILLED / variants.len() as f64;
        for (index, &variant) in variants.iter().enumerate() {
            let values = ratios(case, variant);
            let (Some(low), Some(middle), Some(high)) = (
                quantile(&values, 0.25),
                median(&values),
                quantile(&values, 0.75),
            ) else {
                continue;
            };
            let left = f64::from(across.start)
                + width * (place as f64 + (1.0 - FILLED) / 2.0)
                + bar * index as f64;
            let (left, right) = (left.round() as i32, (left + bar).round() as i32 - 1);
            area.draw(&Rectangle::new(
                [(left, y(middle)), (right, down.end)],
                colour(variant).filled(),
            ))?;
            let centre = (left + right) / 2;
            area.draw(&PathElement::new(
                [(centre, y(low)), (centre, y(high))],
                BLACK.stroke_width(1),
            ))?;
            let text = format!("{middle:.2}");
            area.draw(&Text::new(
                text,
                (left, y(high.max(middle)) - 12),
                ("sans-serif", 10),
            ))?;
        }
    }
    for (index, variant) in Variant::ALL.into_iter().enumerate() {
        let (left, top) = (across.start + 12 + 90 * index as i32, down.start + 4);
        area.draw(&Rectangle::new(
            [(left, top), (left + 10, top + 10)],
            colour(variant).filled(),
        ))?;
        area.draw(&Text::new(
            variant.to_string(),
            (left + 15, top),
            ("sans-serif", 12),
        ))?;
    }
    area.present()?;
    Ok(())
}
