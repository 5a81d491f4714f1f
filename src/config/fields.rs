//! Reads the fields of small sections. A derived reader takes more of the module.

use deserr::{IntoValue, Map, Value, ValuePointerRef};

use super::problem::{found, Mistake, Problems};

/// Reads a field of an object, by its name. Returns `None` if it is unknown.
type ReadField<'f, V> = dyn FnMut(&str, Value<V>, ValuePointerRef<'_>) -> Option<Result<(), Problems>> + 'f;

/// Reads the fields of an object. `read` returns `None` for a field that it does not know.
#[inline(never)]
pub(super) fn fields<V: IntoValue>(
    value: Value<V>,
    location: ValuePointerRef<'_>,
    known: &[&str],
    read: &mut ReadField<'_, V>,
) -> Result<(), Problems> {
    let Value::Map(entries) = value else {
        return Err(Problems::at(location, format!("expected an object, found {}", found(&value))));
    };
    let mut problems = Problems::default();
    for (name, value) in entries.into_iter() {
        let place = location.push_key(&name);
        let result = read(&name, value.into_value(), place).unwrap_or_else(|| {
            let known = known.iter().map(|name| (*name).to_owned()).collect();
            Err(Problems::at(place, Mistake::UnknownField { known }))
        });
        problems.extend(result.err().unwrap_or_default());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}
