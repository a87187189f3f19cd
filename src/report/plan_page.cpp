#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.h"
#include "html.h"
#include "plan/blocks.h"
#include "report/plan_report.h"

namespace ctq::report {
namespace {

using plan::Decision;
using plan::TensorPlan;

/// Hides the rows that do not hold all words, and those of other decisions. The form is only shown where this
/// runs.
constexpr std::string_view kFilter = R"(<script>
(() => {
  const form = document.getElementById('filter'), rows = [...document.querySelectorAll('#tensors tbody tr')];
  const texts = rows.map(row => row.textContent.toLowerCase());
  const show = () => {
    const words = form.words.value.toLowerCase().split(/\s+/), decision = form.decision.value;
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !(words.every(word => texts[i].includes(word)) && (!decision || row.cells[0].textContent === decision));
      shown += !row.hidden;
    });
    form.querySelector('output').textContent = shown + ' of ' + rows.length;
  };
  form.hidden = false;
  form.addEventListener('input', show);
  form.addEventListener('submit', event => event.preventDefault());
  show();
})();
</script>
)";

struct Sums {
  std::map<Decision, size_t> tensors;
  uint64_t bytes_in = 0, bytes_out = 0;

  void add(const TensorPlan& tensor) {
    ++tensors[tensor.decision];
    bytes_in += tensor.bytes_in(), bytes_out += tensor.bytes_out();
  }
  size_t count(Decision decision) const {
    const auto found = tensors.find(decision);
    return found == tensors.end() ? 0 : found->second;
  }
};

std::string number_cell(const std::string& text) { return fmt::format("<td class=\"number\">{}</td>", text); }
std::string count_cell(size_t count) { return number_cell(count > 0 ? fmt::to_string(count) : ""); }
std::string bytes_cells(uint64_t in, uint64_t out) {
  return number_cell(human_bytes(in)) + number_cell(human_bytes(out));
}

bool is_changed(const TensorPlan& tensor) {
  return tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast;
}

std::string decisions_table(const plan::Plan& plan) {
  std::map<std::pair<Decision, std::string>, Sums> rows;
  for (const TensorPlan& tensor : plan.tensors)
    rows[{tensor.decision, is_changed(tensor) ? tensor.target.label() : ""}].add(tensor);
  std::string table =
      "<table>\n<tr><th>Decision</th><th>Format</th><th class=\"number\">Tensors</th><th "
      "class=\"number\">Before</th><th class=\"number\">After</th></tr>\n";
  for (const auto& [key, sums] : rows) {
    table += fmt::format("<tr><td>{}</td><td>{}</td>{}{}</tr>\n", plan::decision_name(key.first),
                         escaped(key.second), count_cell(sums.count(key.first)),
                         bytes_cells(sums.bytes_in, sums.bytes_out));
  }
  return table + "</table>\n";
}

/// Empty where no tensor belongs to a block.
std::string blocks_table(const plan::Plan& plan) {
  std::map<plan::BlockName, Sums> blocks;
  Sums others;
  for (const TensorPlan& tensor : plan.tensors) {
    const std::optional<plan::BlockName> block = plan::block_of(tensor.source->name());
    (block ? blocks[*block] : others).add(tensor);
  }
  if (blocks.empty()) return "";
  std::vector<Decision> decisions;
  std::string table = "<h2>By block</h2>\n<div class=\"scroll\"><table>\n<tr><th>Block</th>";
  using Column = std::pair<Decision, std::string_view>;
  for (const auto& [decision, heading] :
       {Column{Decision::kQuantize, "Quantize"}, Column{Decision::kCast, "Cast"},
        Column{Decision::kKeep, "Keep"}, Column{Decision::kRemove, "Remove"}}) {
    if (plan.count(decision) == 0) continue;
    decisions.push_back(decision);
    table += fmt::format("<th class=\"number\">{}</th>", heading);
  }
  table += "<th class=\"number\">Before</th><th class=\"number\">After</th></tr>\n";
  const auto add = [&](const std::string& label, const Sums& sums) {
    table += fmt::format("<tr><td>{}</td>", escaped(label));
    for (const Decision decision : decisions) table += count_cell(sums.count(decision));
    table += bytes_cells(sums.bytes_in, sums.bytes_out) + "</tr>\n";
  };
  for (const auto& [block, sums] : blocks) add(block.label(), sums);
  if (!others.tensors.empty()) add("elsewhere", others);
  return table + "</table></div>\n";
}

std::string files_table(const plan::Plan& plan) {
  if (plan.files.size() < 2) return "";
  std::string table =
      "<h2>Files</h2>\n<table>\n<tr><th>File</th><th class=\"number\">Tensors</th><th "
      "class=\"number\">Size</th></tr>\n";
  for (const plan::OutputFile& file : plan.files)
    table += fmt::format("<tr><td>{}</td>{}{}</tr>\n", escaped(file.name), count_cell(file.tensors.size()),
                         number_cell(human_bytes(file.bytes)));
  return table + "</table>\n";
}

std::string list(std::string_view heading, const std::vector<std::string>& sentences) {
  if (sentences.empty()) return "";
  std::string text = fmt::format("<h2>{}</h2>\n<ul>\n", heading);
  for (const std::string& sentence : sentences) text += fmt::format("<li>{}</li>\n", escaped(sentence));
  return text + "</ul>\n";
}

std::string lora_table(const PlanNames& names) {
  if (!names.merged || names.merged->empty()) return "";
  std::string table = fmt::format(
      "<h2>Changed by LoRAs</h2>\n<p>{} tensors.</p>\n<table>\n<tr><th>Tensor</th><th>LoRA "
      "layers</th></tr>\n",
      names.merged->size());
  for (const auto& [tensor, layers] : *names.merged)
    table += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escaped(tensor),
                         escaped(fmt::format("{}", fmt::join(layers, ", "))));
  return table + "</table>\n";
}

std::string tensor_row(const TensorPlan& tensor, const pipeline::LayerMethods& methods) {
  const safetensors::TensorInfo& info = *tensor.source->info;
  const std::string method =
      tensor.decision == Decision::kQuantize ? methods.choice(tensor).label() : std::string();
  return fmt::format(
      "<tr><td>{}</td><td class=\"words name\">{}</td><td>{} {}</td><td>{}</td><td "
      "class=\"words\">{}</td><td "
      "class=\"words\">{}</td>{}</tr>\n",
      plan::decision_name(tensor.decision), escaped(info.name), safetensors::dtype_name(info.dtype),
      escaped(shape_text(info.shape)), escaped(is_changed(tensor) ? tensor.target.label() : ""),
      escaped(method), escaped(tensor.reason), bytes_cells(tensor.bytes_in(), tensor.bytes_out()));
}

std::string tensors_table(const plan::Plan& plan, const pipeline::LayerMethods& methods) {
  std::string text =
      "<h2>Tensors</h2>\n<form id=\"filter\" hidden><input name=\"words\" type=\"search\" "
      "placeholder=\"words of a row\" aria-label=\"Words that a row holds\"> <select name=\"decision\" "
      "aria-label=\"Decision\"><option "
      "value=\"\">all</option>";
  for (const Decision decision : {Decision::kQuantize, Decision::kCast, Decision::kKeep, Decision::kRemove}) {
    if (plan.count(decision) > 0) text += fmt::format("<option>{}</option>", plan::decision_name(decision));
  }
  text +=
      "</select> <output class=\"quiet\"></output></form>\n<div class=\"scroll wide\"><table "
      "id=\"tensors\">\n<thead>"
      "<tr><th>Decision</th><th>Tensor</th><th>Was</th><th>Format</th><th>Method</th><th>Reason</th><th "
      "class=\"number\">Before</th><th class=\"number\">After</th></tr></thead>\n<tbody>\n";
  for (const TensorPlan& tensor : plan.tensors) text += tensor_row(tensor, methods);
  return text + "</tbody></table></div>\n" + std::string(kFilter);
}

}  // namespace

std::string plan_html(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods) {
  std::string body = fmt::format(
      "<p>{} to {}, {:.1f} %, in the {} layout. Nothing is written yet. {} of {} tensors are "
      "quantized.</p>\n",
      human_bytes(plan.bytes_in), human_bytes(plan.bytes_out),
      100.0 * static_cast<double>(plan.bytes_out) / static_cast<double>(std::max<uint64_t>(plan.bytes_in, 1)),
      plan.layout == format::Layout::kComfy ? "comfy" : "legacy", plan.count(Decision::kQuantize),
      plan.tensors.size());
  if (const std::string chosen = methods.summary(plan); !chosen.empty())
    body += fmt::format("<p>{}</p>\n", escaped(chosen));
  body += decisions_table(plan);
  std::vector<std::string> notes = plan.notes;
  if (!plan.suggested_preset.empty())
    notes.push_back(
        fmt::format("The tensor names look like --{}, which keeps its sensitive layers; it was not "
                    "given.",
                    plan.suggested_preset));
  body += list("Notes", notes) + list("Patterns that match nothing", plan.unused);
  body += blocks_table(plan) + files_table(plan) + lora_table(names) + tensors_table(plan, methods);
  return html_page("Plan of a conversion", fmt::format("Plan: {} to {}", names.input, names.output), body);
}

}  // namespace ctq::report
