#include "target_switches.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/base/text.h"

namespace ctq::cli {
namespace {

struct TypeSwitch {
  std::string_view type, option;
};
constexpr std::array<TypeSwitch, 5> kTypes{
    {{"int8", "--int8"}, {"fp8", "--fp8"}, {"fp16", "--fp16"}, {"nvfp4", "--nvfp4"}, {"mxfp8", "--mxfp8"}}};

[[noreturn]] void refuse(std::string_view option, std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument {}: {} (got '{}')", option, fact, printable(value));
}

/// A recipe's target stands for the whole recipe: another one is not what was asked for.
void refuse_beside_recipe(const Arguments& arguments) {
  const auto by_recipe = [&](std::string_view key) { return arguments.chosen(key) && !arguments.given(key); };
  const auto type_by_recipe = [&](const TypeSwitch& each) { return by_recipe(each.type); };
  if (!by_recipe("format") && std::ranges::none_of(kTypes, type_by_recipe)) return;
  const auto check = [&](std::string_view key, std::string_view option) {
    if (arguments.given(key))
      refuse("--recipe", fmt::format("names the target; it does not go with {}", option),
             arguments.text("recipe"));
  };
  for (const auto& [type, option] : kTypes) check(type, option);
  check("format", "--format");
}

/// What the defaults of a profile or a recipe name, where the command line names nothing.
TypeSwitch standard_type(const Arguments& arguments) {
  for (const TypeSwitch& each : {kTypes[1], kTypes[3], kTypes[4], kTypes[2]}) {
    if (arguments.flag(each.type)) return each;
  }
  return kTypes[0];
}

}  // namespace

void bind_target(const Arguments& arguments, engine::Target& target) {
  refuse_beside_recipe(arguments);
  TypeSwitch chosen = standard_type(arguments);
  const TypeSwitch* given = nullptr;
  for (const TypeSwitch& each : kTypes) {
    if (!arguments.given(each.type) || !arguments.flag(each.type)) continue;
    if (given) refuse(each.option, "only one target format can be chosen", given->option);
    given = &each;
    chosen = each;
  }
  const std::string& format = arguments.text("format");
  if (!format.empty() && given)
    refuse("--format", fmt::format("names the target; it does not go with {}", given->option), format);
  if (format.empty() && !given && arguments.given("int8"))
    refuse("--int8", "is off, and no other target format is chosen; add --fp8 or --fp16", "false");
  target.type.set(std::string(chosen.type), given ? engine::By::kUser : engine::By::kDefault);
  target.type.set_label(chosen.option);
  target.format.set(format, arguments.given("format")    ? engine::By::kUser
                            : arguments.chosen("format") ? engine::By::kRecipe
                                                         : engine::By::kDefault);
  target.format.set_label("--format");
}

}  // namespace ctq::cli
