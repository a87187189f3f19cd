#include "words.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/options/mode_switches.h"
#include "cli/options/spelling.h"

namespace ctq::cli::batch {
namespace {

[[noreturn]] void refuse_unknown(std::string_view name, const Spellings& own) {
  const std::string_view of_batch = own.nearest(name), of_conversion = conversion_spellings().nearest(name);
  const std::string_view near = of_batch.empty() ? of_conversion : of_batch;
  if (near.empty()) fail(ErrorCode::kUsage, "argument {}: unknown option", printable(name));
  fail(ErrorCode::kUsage, "argument {}: unknown option; did you mean {}?", printable(name), near);
}

/// How many of the words behind an option may be its values.
size_t most_values(const Spelling& spelling, bool attached) {
  if (attached || spelling.option->kind == Kind::kSwitch || !spelling.implied.empty()) return 0;
  if (spelling.option->optional_value && spelling.option->choices.empty()) return 0;
  return spelling.option->kind == Kind::kPathList ? SIZE_MAX : 1;
}

}  // namespace

Words split_words(const std::vector<std::string>& args) {
  const Spellings own(batch_table().options);
  Words words;
  std::vector<std::string>* target = &words.own;
  size_t values = 0;  // that the option before may still take
  for (size_t at = 0; at < args.size(); ++at) {
    const std::string& word = args[at];
    if (word == "--") {
      words.own.insert(words.own.end(), args.begin() + static_cast<std::ptrdiff_t>(at), args.end());
      break;
    }
    if (!looks_like_option(word)) {
      if (values == 0) target = &words.own;
      values -= std::min<size_t>(values, 1);
      target->push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Spelling* spelling = own.find(name);
    target = spelling ? &words.own : &words.conversion;
    if (!spelling) spelling = conversion_spellings().find(name);
    if (!spelling) refuse_unknown(name, own);
    values = most_values(*spelling, equals != std::string::npos);
    target->push_back(word);
  }
  if (without_mode_switch(words.conversion) != words.conversion)
    fail(ErrorCode::kUsage, "batch converts; a mode switch is a command for one file");
  return words;
}

}  // namespace ctq::cli::batch
