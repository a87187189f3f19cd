#include "command_input.h"

#include <sstream>

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/linalg/device.h"
#include "ctq/plan/pattern.h"
#include "output_path.h"

namespace ctq::cli {

OpenedFile::OpenedFile(const std::string& path, const model::Checkpoint& converted)
    : checkpoint(model::Checkpoint::open(path)) {
  if (const auto foreign = names::find_foreign(checkpoint); foreign && !names::find_foreign(converted))
    renamed.emplace(checkpoint, *foreign);
  quantized = quantized::find_layers(renamed ? renamed->checkpoint() : checkpoint);
}

const std::string& required(const Arguments& arguments, std::string_view option) {
  if (!arguments.given(option)) fail(ErrorCode::kUsage, "argument --{}: is required", option);
  return arguments.text(option);
}

at::Device device_of(const Arguments& arguments) {
  const std::string& name = arguments.text("device");
  return linalg::open_device(name == "auto" ? "cpu" : name);
}

std::function<bool(const std::string&)> name_filter(const Arguments& arguments, std::string_view option) {
  if (!arguments.given(option)) return nullptr;
  try {
    return [pattern = plan::Pattern(arguments.text(option))](const std::string& name) {
      return pattern.search(name);
    };
  } catch (const Error& error) {
    fail(error.code(), "argument --{}: {}", option, error.what());
  }
}

std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream list(text);
  for (std::string word; std::getline(list, word, ',');) {
    const size_t first = word.find_first_not_of(' '), last = word.find_last_not_of(' ');
    if (first != std::string::npos) words.push_back(word.substr(first, last - first + 1));
  }
  return words;
}

std::string output_for(const Arguments& arguments, const OpenedFile& input, std::string_view suffix) {
  std::string output = arguments.given("output")
                           ? arguments.text("output")
                           : fmt::format("{}{}.safetensors", input_stem(input.checkpoint.path()), suffix);
  check_output_path(output, input.checkpoint.path(), arguments.flag("no_clobber"));
  check_output_is_no_input(output, input.checkpoint);
  return output;
}

}  // namespace ctq::cli
