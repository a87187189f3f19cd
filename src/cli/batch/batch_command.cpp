#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "base/shell.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/options/help_pages.h"
#include "cli/options/rows.h"
#include "ctq/engine/session.h"
#include "expectations.h"
#include "inputs.h"
#include "jobs.h"
#include "lora_choice.h"
#include "runner.h"
#include "words.h"

namespace ctq::cli {
namespace {

using batch::BatchOptions;
using batch::Job;
using batch::Result;

void print_command_lines(const std::vector<Job>& jobs) {
  for (const Job& job : jobs) {
    std::vector<std::string> words;
    for (const std::string& word : job.words) words.push_back(shell_word(word));
    fmt::print("{}convert_to_quant {}\n", job.finished ? "# finished: " : "", fmt::join(words, " "));
  }
}

void confirm(size_t conversions) {
  if (::isatty(STDIN_FILENO) == 0)
    fail(ErrorCode::kUsage,
         "argument --yes: is needed where nobody can be asked (standard input is no terminal)");
  fmt::print("Proceed with {} conversions? (y/N) ", conversions);
  std::fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "y" && answer != "Y") fail(ErrorCode::kFailure, "not confirmed; nothing was converted");
}

std::string result_words(const Result& result) {
  switch (result.state) {
    case Result::State::kDone: return "converted";
    case Result::State::kFinishedBefore: return "finished before";
    case Result::State::kNotStarted: return "not started";
    case Result::State::kFailed: break;
  }
  return fmt::format("exit code {}{}{}", result.code, result.error.empty() ? "" : ": ", result.error);
}

void print_table(const std::vector<Job>& jobs, const std::vector<Result>& results) {
  size_t width = 4;
  for (const Job& job : jobs) width = std::max(width, job.label().size());
  fmt::print("\n{:<{}}  {:>8}  result\n", "file", width, "seconds");
  for (size_t i = 0; i < jobs.size(); ++i)
    fmt::print("{:<{}}  {:>8.1f}  {}\n", jobs[i].label(), width, results[i].seconds,
               result_words(results[i]));
  const auto count = [&](Result::State state) { return std::ranges::count(results, state, &Result::state); };
  fmt::print("{} converted, {} failed, {} finished before, {} not started\n", count(Result::State::kDone),
             count(Result::State::kFailed), count(Result::State::kFinishedBefore),
             count(Result::State::kNotStarted));
}

/// The conversion's words, with a live progress line where one file at a time has the terminal.
std::vector<std::string> conversion_words(std::vector<std::string> words, const BatchOptions& own,
                                          bool ask_bar) {
  if (ask_bar && *own.jobs == 1 && ::isatty(STDERR_FILENO) != 0) words.emplace_back("--progress=bar");
  return words;
}

}  // namespace

int run_batch(const std::vector<std::string>& args) {
  const batch::Words words = batch::split_words(args);
  if (print_requested_page(words.conversion)) return 0;
  BatchOptions own;
  parse_into(own, words.own, batch::make_batch_table);
  const Arguments conversion = Arguments::parse(words.conversion);
  const bool json_progress = conversion.text("progress") == "json";
  engine::Session session({.console = engine::Console::kNotesToStdout});
  const batch::LoraChoice loras(own);
  std::optional<batch::Regression> regression;
  if (own.expect.given() || own.write_expect.given()) regression.emplace(own.expect, own.write_expect);
  const std::vector<std::string> inputs = batch::find_inputs(own, conversion.flag("lora"));
  std::vector<Job> jobs = batch::make_jobs(
      inputs, own, conversion_words(words.conversion, own, conversion.text("progress") == "auto"), loras);
  if (regression) regression->prepare(jobs);
  if (*own.dry_run) return print_command_lines(jobs), 0;

  const auto to_do = static_cast<size_t>(std::ranges::count(jobs, false, &Job::finished));
  fmt::print("{} conversions of {} files, {} of them finished before\n", jobs.size(), inputs.size(),
             jobs.size() - to_do);
  if (to_do > 0 && !*own.yes) confirm(to_do);
  install_signal_handlers();
  const std::vector<Result> results = batch::run_jobs(jobs, {.jobs = static_cast<size_t>(*own.jobs),
                                                             .keep_going = *own.keep_going,
                                                             .json_progress = json_progress});
  print_table(jobs, results);
  throw_if_cancelled();
  int highest = 0;
  for (const Result& result : results) highest = std::max(highest, result.code);
  return regression ? regression->judge(jobs, results, highest) : highest;
}

}  // namespace ctq::cli
