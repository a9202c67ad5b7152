//! How points are shown: a line each, or one whole.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::points::{LAB_FOLDER, of_point};
use crate::cmd::ls::age;
use crate::cmd::table::{bytes, columns};
use crate::failure::Failure;
use crate::lab::name::PointName;
use crate::point::folder::{PointError, Points};
use crate::point::{Of, Point};

/// A point, or why it cannot be read.
pub struct Line {
    name: PointName,
    point: Result<Point, PointError>,
    here: bool,
}

/// All points of a cluster, those too that cannot be read; the oldest first.
pub fn lines(points: &Points) -> Result<Vec<Line>, Failure> {
    let (names, here) = (points.names().map_err(|error| of_point("list the points", &error))?, points.here());
    let line = |name: PointName| Line { point: points.read(&name), here: here.as_ref() == Some(&name), name };
    let mut lines: Vec<Line> = names.into_iter().map(line).collect();
    lines.sort_by_key(|line| line.point.as_ref().ok().map(|point| point.at));
    Ok(lines)
}

/// For people; a header alone if there are none.
pub fn table(lines: &[Line], now: Timestamp) -> String {
    let none = || String::from("-");
    columns(
        &["POINT", "AFTER", "AGE", "SIZE", "PROVEN", "LAB"],
        lines.iter().map(|line| {
            let here = if line.here { "descends from it" } else { "" };
            match &line.point {
                Ok(point) => vec![
                    line.name.to_string(),
                    point.parent.as_ref().map_or_else(none, ToString::to_string),
                    age(point.at, now),
                    bytes(point.bytes()),
                    proven(point),
                    here.into(),
                ],
                Err(error) => vec![line.name.to_string(), none(), none(), none(), error.to_string(), here.into()],
            }
        }),
    )
}

/// `31/31 12s before`, the age of the proof when the point was saved.
fn proven(point: &Point) -> String {
    match &point.proven {
        Some(proven) => format!("{0}/{0} {1} before", proven.checks, age(proven.at, point.at)),
        None => "no".into(),
    }
}

/// For programs: a list of objects.
pub fn json(lines: &[Line]) -> Value {
    let one = |line: &Line| match &line.point {
        Ok(point) => json!({ "name": line.name, "here": line.here, "bytes": point.bytes(), "point": point }),
        Err(error) => json!({ "name": line.name, "here": line.here, "error": error.to_string() }),
    };
    lines.iter().map(one).collect()
}

/// One point for people.
pub fn text(point: &Point, now: Timestamp) -> String {
    let mut text = String::new();
    let mut pair = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<9} {value}");
    };
    pair("point", format!("{} of {} ({})", point.name, point.lab, point.cluster));
    pair("saved", format!("{:.0} ({} ago) by calicolab {}", point.at, age(point.at, now), point.calicolab));
    pair("after", point.parent.as_ref().map_or_else(|| "no other".into(), ToString::to_string));
    pair("proven", proven(point));
    let still = &point.saved;
    pair("paused", format!("{} ms, all within {} ms", still.paused.as_millis(), still.spread.as_millis()));
    for (what, value) in &point.fit {
        pair("fits", format!("{what} {value}"));
    }
    for lost in &point.saved.lost {
        pair("lost", lost.clone());
    }
    text.push('\n');
    // What was copied of the cluster's folder is many and small; its digests are in the point's file.
    let large = point.files.iter().filter(|one| !(one.of == Of::Point && one.file.starts_with(LAB_FOLDER)));
    let rows = large.map(|one| {
        let of = match one.of {
            Of::Point => "its own",
            Of::Points => "shared",
            Of::Cache => "cache",
        };
        vec![one.file.display().to_string(), of.into(), bytes(one.bytes), one.digest.to_string()]
    });
    text + &columns(&["FILE", "WHOSE", "SIZE", "DIGEST"], rows)
}
