//! The `forecast` section.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, Period, Section};

/// Settings that forecasting applications share; nothing in the SDK forecasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ForecastConfig {
    /// Whether forecasts are made.
    pub enabled: bool,
    /// Folder with the trained models.
    #[schemars(extend("format" = "path"))]
    pub models_path: Option<PathBuf>,
    /// Algorithm used when a request names none.
    pub default_algorithm: Option<String>,
    /// When models are trained, as a cron expression.
    pub training_schedule: Option<String>,
    /// How far back training looks.
    pub max_history: Period,
    /// Share of outcomes that a forecast's interval should hold, above 0 and below 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence_level: f64,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            models_path: None,
            default_algorithm: None,
            training_schedule: None,
            max_history: Period::years(2),
            confidence_level: 0.80,
        }
    }
}

impl Section for ForecastConfig {
    const NAME: &'static str = "forecast";
    const PREFIX: &'static str = "WATCHDOG_FORECAST";

    fn check(&self, check: &mut Check<'_>) {
        if self.confidence_level <= 0.0 || self.confidence_level >= 1.0 {
            check.problem(
                &["confidence_level"],
                "a number above 0 and below 1",
                "0.80 means that four of five outcomes lie in the interval",
            );
        }
        if self.max_history.is_zero() {
            check.problem(&["max_history"], "a period that is not empty", "for example 2years");
        }
    }
}
