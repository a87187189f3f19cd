#define PCRE2_CODE_UNIT_WIDTH 8
#include "plan/pattern.h"

#include <utility>

#include <pcre2.h>

#include "base/error.h"
#include "base/text.h"

namespace ctq::plan {
namespace {

// What one match may cost: a fraction of a second at most, while ordinary patterns need a few hundred steps.
constexpr uint32_t kMatchLimit = 2'000'000;
constexpr uint32_t kDepthLimit = 100'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

/// Both are only read while matching, so threads may share them.
struct Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;

  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

/// Python's \Z is the very end of the subject, which PCRE2 writes \z; PCRE2's own \Z also stops before a
/// final newline.
std::string from_python(std::string_view expression) {
  std::string result(expression);
  size_t class_begin = std::string::npos;  // of the first character that would close the class
  for (size_t i = 0; i < result.size(); ++i) {
    const bool in_class = class_begin != std::string::npos;
    if (result[i] == '\\' && i + 1 < result.size()) {
      ++i;
      if (result[i] == 'Z' && !in_class) result[i] = 'z';
    } else if (result[i] == '[' && !in_class) {
      if (i + 1 < result.size() && result[i + 1] == '^') ++i;
      class_begin = i + 2;  // a bracket that comes first stands for itself
    } else if (result[i] == ']' && in_class && i >= class_begin) {
      class_begin = std::string::npos;
    }
  }
  return result;
}

std::string pcre2_message(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR code_units(std::string_view text) {
  return text.empty() ? reinterpret_cast<PCRE2_SPTR>("") : reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

Pattern::Pattern(const std::string& expression) : expression_(expression) {
  const std::string text = from_python(expression);
  const uint32_t encoding = is_utf8(text) ? PCRE2_UTF | PCRE2_MATCH_INVALID_UTF : 0U;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);

  auto compiled = std::make_shared<Compiled>();
  int error = 0;
  PCRE2_SIZE position = 0;
  compiled->code = pcre2_compile(code_units(text), text.size(), encoding | PCRE2_NEVER_BACKSLASH_C, &error,
                                 &position, context.get());
  if (compiled->code == nullptr) {
    fail(ErrorCode::kUsage, "bad regular expression: {} at position {} of '{}'", pcre2_message(error),
         position, printable(expression));
  }
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);  // on failure the interpreter does the work

  compiled->limits = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(compiled->limits, kMatchLimit);
  pcre2_set_depth_limit(compiled->limits, kDepthLimit);
  pcre2_set_heap_limit(compiled->limits, kHeapLimitKib);
  code_ = std::move(compiled);
}

bool Pattern::matches(std::string_view subject, unsigned options) const {
  const auto& compiled = *static_cast<const Compiled*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(compiled.code, nullptr), &pcre2_match_data_free);
  const auto run = [&](uint32_t flags) {
    return pcre2_match(compiled.code, code_units(subject), subject.size(), 0, flags, data.get(),
                       compiled.limits);
  };

  int result = run(options);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(options | PCRE2_NO_JIT);
  switch (result) {
    case PCRE2_ERROR_NOMATCH: return false;
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
      fail(ErrorCode::kUsage,
           "regular expression '{}' takes too long on '{}'; repeats inside repeats, such as (a+)+, are the "
           "usual cause",
           printable(expression_), printable(subject));
    default: break;
  }
  if (result < 0) {
    fail(ErrorCode::kFailure, "regular expression '{}' on '{}': {}", printable(expression_),
         printable(subject), pcre2_message(result));
  }
  return true;
}

bool Pattern::search(std::string_view subject) const { return matches(subject, 0); }

bool Pattern::full_match(std::string_view subject) const {
  return matches(subject, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
}

}  // namespace ctq::plan
