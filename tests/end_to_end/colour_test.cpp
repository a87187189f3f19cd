// Colours on a terminal, and nowhere else.
#include <catch2/catch.hpp>

#include "support/make_checkpoint.h"
#include "support/pseudo_terminal.h"
#include "support/run_binary.h"

using namespace ctq::test;

namespace {

using Words = std::vector<std::string>;

std::string on_terminal(const Words& args, const char* no_color = "") {
  return printed_on_terminal([&] {
    ::setenv("TERM", "xterm", 1), ::setenv("NO_COLOR", no_color, 1);
    std::vector<char*> argv{const_cast<char*>(CTQ_BINARY)};
    for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    ::execv(CTQ_BINARY, argv.data());
  });
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Model {
  TempDir dir;
  std::string path = dir / "m.safetensors", output = dir / "o.safetensors";
  Words convert{"-i", path,       "-o",         output, "--fp8", "--comfy_quant", "--exclude-layers",
                "c",  "--simple", "--progress", "plain"};

  Model() { make_checkpoint(path, {bf16_weight("a.weight", 64, 64), bf16_weight("c.weight", 64, 64)}); }
};

}  // namespace

TEST_CASE("colour: a terminal shows decisions, results, verdicts and errors in colour", "[end_to_end]") {
  const Model model;
  const std::string run = on_terminal(model.convert);
  INFO(run);
  CHECK(has(run, "\x1b[32mProcessing (FP8)\x1b[0m: a.weight"));
  CHECK(has(run, "\x1b[2mSkipping tensor\x1b[0m: c.weight"));
  CHECK(has(run, "\x1b[32mWritten:\x1b[0m "));
  CHECK(has(on_terminal({"verify", model.output}), ": \x1b[32mOK\x1b[0m for comfyui"));
  CHECK(has(on_terminal({"verify", model.output, "--original", model.path, "--min-sqnr", "90"}),
            "\x1b[31mrefused \x1b[0m a: SQNR"));
  CHECK(has(on_terminal({"--fp9"}), "convert_to_quant: \x1b[31merror\x1b[0m: "));
}

TEST_CASE("colour: none with NO_COLOR, none in a pipe", "[end_to_end]") {
  const Model model;
  const Outcome piped = run_binary(model.convert, "env -u NO_COLOR TERM=xterm");
  REQUIRE(piped.code == 0);
  CHECK_FALSE(has(piped.out + piped.err, "\x1b"));
  CHECK(has(piped.out, "\nWritten: "));
  CHECK_FALSE(has(on_terminal(model.convert, "1"), "\x1b"));
  const Outcome verdict = run_binary({"verify", model.output}, "env -u NO_COLOR TERM=xterm");
  CHECK(verdict.out == on_terminal({"verify", model.output}, "1"));
  CHECK(has(verdict.out, ": OK for comfyui\n"));
  const Outcome refused = run_binary({"--fp9"}, "env -u NO_COLOR TERM=xterm");
  CHECK_FALSE(has(refused.err, "\x1b"));
  CHECK(has(refused.err, "convert_to_quant: error: "));
}
