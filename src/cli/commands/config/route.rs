//! `llmops config route`: which rule of a route takes a prompt and why, and who would be asked.

use std::sync::Arc;

use clap::Args;

use crate::cli::args::{GlobalArgs, ListArgs, attrs, key_value};
use crate::cli::commands::question::{self, QuestionArgs};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::route::Balance;
use crate::domain::text::printable;
use crate::ops::route::{RouteReport, RuleRow, TargetRow, explain};
use crate::policy::route::{DEFAULT, Question};

/// Say which rule of a route takes a prompt, and why
///
/// Nobody is asked: this shows who would be, and in which order.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops config route 'Why is the sky blue?'\n  \
    git diff | llmops config route --route review 'Right?'\n  \
    llmops config route --user ada --attr plan=pro 'Hello!'")]
pub(super) struct RouteArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// The route [default: default]
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Whom it is for
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// A label (repeatable)
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    tag: Vec<(String, String)>,
    /// What is known of the user (repeatable)
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    attr: Vec<(String, String)>,
    #[command(flatten)]
    list: ListArgs,
}

const COLUMNS: [&str; 4] = ["rule", "model", "matched", "why"];

pub(super) fn run(args: &RouteArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let (name, routes) = (args.route.as_deref().unwrap_or(DEFAULT), session.routes()?);
    let route = routes.get(&name.into()).ok_or_else(|| session.no_route(name))?;
    let request = question::request(ui, &args.question, false)?;
    let attrs = attrs(&args.attr);
    let count = || route.count(&request);
    let asked = Question::new(&request, args.user.as_deref(), &args.tag, &attrs, count);
    let report = explain(route, &asked, session.default_model().map(|(model, _)| model));
    print(&format::report(args.list.format, &report, &COLUMNS, &report.rules, || {
        let rules = if report.rules.is_empty() { String::new() } else { rules(ui, &report.rules) + "\n" };
        format!("{rules}Route {}: {}\n", printable(report.route.as_str()), printable(&order(&report)))
    }))?;
    Ok(exit::DONE)
}

fn rules(ui: &Ui, rows: &[RuleRow]) -> String {
    let columns = [
        Column::text("Rule").whole(),
        Column::text("Model"),
        Column::text("Takes it").whole(),
        Column::text("Why"),
    ];
    let cells = |row: &RuleRow| {
        let takes = if row.matched { "yes" } else { "-" };
        vec![row.rule.clone(), row.model.clone(), takes.to_owned(), row.why.clone()]
    };
    table::render(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Who is asked, in words: `a, then b`, `a (3) or b (1), by lot, then c`.
fn order(report: &RouteReport) -> String {
    let names = |targets: &[TargetRow], weighted: bool| -> Vec<String> {
        let name = |target: &TargetRow| {
            let share = if weighted { format!(" ({})", target.weight) } else { String::new() };
            format!("{}{share}", target.model)
        };
        targets.iter().map(name).collect()
    };
    let any = |weighted, how: &str| format!("{}, {how}", names(&report.targets, weighted).join(" or "));
    let first = match (report.targets.as_slice(), report.balance) {
        ([], _) => "nobody, since no model is set".to_owned(),
        ([only], _) => only.model.clone(),
        (several, Balance::Order) => names(several, false).join(", then "),
        (_, Balance::Weight) => any(true, "by lot"),
        (_, Balance::LeastBusy) => any(true, "the least busy first"),
        (_, Balance::Fastest) => any(false, "the fastest first"),
    };
    let fallback = report.fallback.iter().map(|model| format!(", then {model}"));
    first + &fallback.collect::<String>()
}
