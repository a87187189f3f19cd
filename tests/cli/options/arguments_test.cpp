// The command line as it is typed.
#include "cli/options/arguments.h"

#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "cli/options/option.h"
#include "cli/options/spelling.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::cli {
namespace {

using Words = std::vector<std::string>;

/// The message of the usage error that the words cause; empty when they are fine.
std::string fault(const Words& words) {
  try {
    Arguments::parse(words);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUsage);
    return error.what();
  }
  return "";
}

std::string command_fault(const Words& words) {
  try {
    check_command(words);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUsage);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("arguments: without any the defaults hold", "[cli]") {
  const Arguments none = Arguments::parse({});
  CHECK_FALSE(none.given("input"));
  CHECK(none.text("input") == "");
  CHECK(none.text("scaling_mode") == "");
  CHECK(none.integer("block_size") == 128);
  CHECK(none.number("quality_threshold") == 30.0);
  CHECK(none.text("verbose") == "NORMAL");
  CHECK(none.text("optimizer") == "auto");
  CHECK(none.text("device") == "auto");
  CHECK(none.flag("int8"));
  CHECK_FALSE(none.flag("comfy_quant"));
  CHECK(none.bytes("max_shard_size") == 0);
  CHECK_THROWS_AS(none.integer("optimizer"), std::logic_error);
  CHECK_THROWS_AS(none.number("no such option"), std::logic_error);
  CHECK(none.list("merge_loras").empty());
  CHECK_THROWS_AS(none.text("no_such_option"), std::logic_error);
}

TEST_CASE("arguments: dashes and underscores mix in long names, not in values", "[cli]") {
  for (const std::string name : {"--scaling_mode", "--scaling-mode"}) {
    CHECK(Arguments::parse({name, "row"}).text("scaling_mode") == "row");
    CHECK(Arguments::parse({name + "=row"}).text("scaling_mode") == "row");
  }
  for (const std::string name : {"--full_precision_matrix_mult", "--full-precision-matrix-mult",
                                 "--full_precision-matrix_mult", "-fpmm", "--full-precision_matrix-mult"}) {
    CHECK(Arguments::parse({name}).flag("full_precision_matrix_mult"));
  }
  CHECK(Arguments::parse({"--group-size", "64"}).integer("block_size") == 64);
  CHECK(Arguments::parse({"--exclude_layers=a-b_c=d"}).text("exclude_layers") == "a-b_c=d");
  CHECK(Arguments::parse({"-i", "my-model_v1.safetensors"}).text("input") == "my-model_v1.safetensors");
  CHECK(Arguments::parse({"-lm"}).flag("low_memory"));
}

TEST_CASE("arguments: a switch has four forms", "[cli]") {
  CHECK(Arguments::parse({"--comfy_quant"}).flag("comfy_quant"));
  CHECK_FALSE(Arguments::parse({"--no-comfy_quant"}).flag("comfy_quant"));
  CHECK_FALSE(Arguments::parse({"--no_comfy-quant"}).flag("comfy_quant"));
  for (const std::string on : {"true", "1", "YES", "on"}) {
    CHECK(Arguments::parse({"--comfy-quant=" + on}).flag("comfy_quant"));
    CHECK_FALSE(Arguments::parse({"--no-comfy-quant=" + on}).flag("comfy_quant"));
  }
  for (const std::string off : {"False", "0", "no", "off"}) {
    CHECK_FALSE(Arguments::parse({"--comfy-quant=" + off}).flag("comfy_quant"));
    CHECK(Arguments::parse({"--no-comfy-quant=" + off}).flag("comfy_quant"));
  }
  CHECK(fault({"--comfy-quant=maybe"}) ==
        "argument --comfy_quant: must be true or false (also 1, 0, yes, no, on, off) (got 'maybe')");
  CHECK(fault({"--comfy-quant="}) == "argument --comfy_quant: the value is empty (got '')");
  // As older programs take it.
  CHECK(Arguments::parse({"--comfy_quant", "True"}).flag("comfy_quant"));
  CHECK_FALSE(Arguments::parse({"--comfy_quant", "false"}).flag("comfy_quant"));
  CHECK(Arguments::parse({"--no-comfy_quant", "False"}).flag("comfy_quant"));

  CHECK(Arguments::parse({"--no-clobber"}).flag("no_clobber"));
  CHECK_FALSE(Arguments::parse({"--clobber"}).flag("no_clobber"));
  CHECK_FALSE(Arguments::parse({"--no-no-clobber"}).flag("no_clobber"));
  CHECK(Arguments::parse({"--no-comfy_quant"}).given("comfy_quant"));
}

TEST_CASE("arguments: a bad value of each kind is named with its option", "[cli]") {
  CHECK(fault({"--block-size", "12x"}) == "argument --block_size: not an integer (got '12x')");
  CHECK(fault({"--group-size", "0"}) == "argument --group_size: must be at least 1 (got '0')");
  CHECK(fault({"--block_size=-3"}) == "argument --block_size: must be at least 1 (got '-3')");
  CHECK(fault({"--quality_threshold", "nan"}) ==
        "argument --quality-threshold: not a finite number (got 'nan')");
  CHECK(fault({"--scaling-mode", "rows"}) ==
        "argument --scaling_mode: must be one of block, axis, tensor, row, block2d, block3d (got 'rows')");
  CHECK(fault({"--device=tpu"}) == "argument --device: must be auto, cpu, cuda or cuda:N (got 'tpu')");
  CHECK(fault({"--max_shard_size", "4 parsecs"}) ==
        "argument --max-shard-size: not a size such as 4GB or 500MiB (got '4 parsecs')");
  CHECK(fault({"-i", "-"}) ==
        "argument -i: not a path; standard input and output are not supported (got '-')");
  CHECK(fault({"--exclude-layers="}) == "argument --exclude-layers: the value is empty (got '')");
  CHECK(fault({"--block_size", "a\nb"}) == "argument --block_size: not an integer (got 'a\\nb')");
}

TEST_CASE("arguments: a value that is missing, or can only be an option", "[cli]") {
  CHECK(fault({"--output"}) == "argument --output: a value is missing");
  CHECK(fault({"-o"}) == "argument -o: a value is missing");
  CHECK(fault({"--output", "--int8"}) == "argument --output: a value is missing (got '--int8')");
  CHECK(fault({"--exclude-layers", "-foo"}) == "argument --exclude-layers: a value is missing (got '-foo')");
  CHECK(fault({"--output", "--"}) == "argument --output: a value is missing (got '--')");
  CHECK(Arguments::parse({"--exclude-layers=-foo"}).text("exclude_layers") == "-foo");
}

TEST_CASE("arguments: a negative number is a value", "[cli]") {
  CHECK(Arguments::parse({"--quality-threshold", "-5"}).number("quality_threshold") == -5);
  CHECK(Arguments::parse({"--quality-threshold", "-.5e1"}).number("quality_threshold") == -5);
  CHECK(Arguments::parse({"--quality-threshold=-5"}).number("quality_threshold") == -5);
  CHECK(fault({"--block_size", "-1"}) == "argument --block_size: must be at least 1 (got '-1')");
  CHECK_FALSE(looks_like_option("-1"));
  CHECK_FALSE(looks_like_option("-.5"));
  CHECK_FALSE(looks_like_option("-"));
  CHECK(looks_like_option("-."));
  CHECK(looks_like_option("--"));
}

TEST_CASE("arguments: an unknown option is answered with the nearest one", "[cli]") {
  CHECK(fault({"--fp18"}) == "argument --fp18: unknown option; did you mean --fp16?");
  CHECK(fault({"--scaling-mod=row"}) ==
        "argument --scaling-mod: unknown option; did you mean --scaling_mode?");
  CHECK(fault({"--no-comfy-quan"}) ==
        "argument --no-comfy-quan: unknown option; did you mean --no-comfy_quant?");
  CHECK(fault({"--xyzzy-plugh"}) == "argument --xyzzy-plugh: unknown option");
  CHECK(fault({"--b\n"}).starts_with("argument --b\\n: unknown option"));
  // Abbreviations and glued values are no options.
  CHECK(fault({"--exclude", "x"}).starts_with("argument --exclude: unknown option"));
  CHECK(fault({"-ifile"}).starts_with("argument -ifile: unknown option"));
  CHECK(fault({"--=x"}).starts_with("argument --: unknown option"));
  CHECK(fault({"---int8"}).starts_with("argument ---int8: unknown option"));
}

TEST_CASE("arguments: what is no option or no word of one is refused", "[cli]") {
  CHECK(fault({"--optimizer", "sgd"}).starts_with("argument --optimizer: must be one of original, adamw,"));
  CHECK(fault({"--block-fallback", "pad"}) ==
        "argument --block-fallback: must be one of row, skip, error (got 'pad')");
  CHECK(fault({"--calib_rows", "9"}).starts_with("argument --calib_rows: unknown option"));
}

TEST_CASE("arguments: the first fault from left to right is reported", "[cli]") {
  CHECK(fault({"--block_size", "x", "--nope", "--device", "tpu"}).starts_with("argument --block_size:"));
  CHECK(fault({"--nope", "--block_size", "x"}).starts_with("argument --nope:"));
  CHECK(fault({"--sweeps", "-1", "--nope"}).starts_with("argument --sweeps:"));
  CHECK(fault({"stray", "--nope"}).starts_with("unexpected word 'stray'"));
  CHECK(fault({"--block_size", "x", "--block_size", "128"}).starts_with("argument --block_size:"));
}

TEST_CASE("arguments: of a repeated option the last value wins", "[cli]") {
  const Arguments twice = Arguments::parse(
      {"--block_size", "64", "--simple", "--group-size=32", "--no-simple", "-o", "a", "--output", "b"});
  CHECK(twice.integer("block_size") == 32);
  CHECK_FALSE(twice.flag("simple"));
  CHECK(twice.text("output") == "b");
}

TEST_CASE("arguments: '--' ends the options, and words outside options are refused", "[cli]") {
  CHECK(fault({"--int8", "--"}) == "");
  CHECK(fault({"--", "--int8"}) == "unexpected word '--int8'; name files with --input and --output");
  CHECK(fault({"--int8", "model.bin"}) ==
        "unexpected word 'model.bin'; name files with --input and --output");
  CHECK(fault({"-"}).starts_with("unexpected word '-'"));
  CHECK(fault({"-1"}).starts_with("unexpected word '-1'"));
  CHECK(fault({""}).starts_with("unexpected word ''"));
}

TEST_CASE("arguments: a model may stand anywhere without its option", "[cli]") {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"m.safetensors", "--int8"},
                                             {"--int8", "m.safetensors"},
                                             {"convert", "m.safetensors"},
                                             {"--block_size", "64", "m.safetensors", "-o", "x"}})
    CHECK(Arguments::parse(words).text("input") == "m.safetensors");
  const test::TempDir folder;
  CHECK(Arguments::parse({folder / "."}).text("input") == folder / ".");
  CHECK(Arguments::parse({"m.safetensors.index.json"}).text("input") == "m.safetensors.index.json");
  CHECK(fault({"-i", "a", "m.safetensors"}) == "unexpected word 'm.safetensors'; --input is given already");
  CHECK(fault({"a.safetensors", "b.safetensors"}) ==
        "unexpected word 'b.safetensors'; --input is given already");
}

TEST_CASE("arguments: the log level by name and by short switches", "[cli]") {
  CHECK(Arguments::parse({"-v"}).text("verbose") == "VERBOSE");
  CHECK(Arguments::parse({"-vv"}).text("verbose") == "DEBUG");
  CHECK(Arguments::parse({"-q"}).text("verbose") == "MINIMAL");
  CHECK(Arguments::parse({"--verbose", "DEBUG"}).text("verbose") == "DEBUG");
  CHECK(Arguments::parse({"-vv", "--verbose=NORMAL"}).text("verbose") == "NORMAL");
  CHECK(Arguments::parse({"-q"}).given("verbose"));
  CHECK(fault({"-v=DEBUG"}) == "argument -v: takes no value (got 'DEBUG')");
  CHECK(fault({"--verbose", "debug"}) ==
        "argument --verbose: must be one of DEBUG, VERBOSE, NORMAL, MINIMAL (got 'debug')");
  CHECK(fault({"--verbose"}) == "argument --verbose: a value is missing");
}

TEST_CASE("arguments: --dry-run takes a value or none", "[cli]") {
  CHECK(Arguments::parse({}).text("dry_run") == "");
  CHECK(Arguments::parse({"--dry-run"}).text("dry_run") == "analyze");
  CHECK(Arguments::parse({"--dry_run", "--int8"}).text("dry_run") == "analyze");
  CHECK(Arguments::parse({"--dry-run", "analyze"}).text("dry_run") == "analyze");
  CHECK(Arguments::parse({"--dry-run=analyze"}).text("dry_run") == "analyze");
  CHECK(Arguments::parse({"--dry-run=create-template"}).text("dry_run") == "create-template");
  CHECK(fault({"--dry-run", "x"}) == "argument --dry-run: must be one of analyze, create-template (got 'x')");
}

TEST_CASE("commands: convert may be named, others are refused", "[cli]") {
  CHECK(command_fault({}) == "");
  CHECK(command_fault({"-i", "clip-g"}) == "");
  CHECK(command_fault({"convert", "-i", "x"}) == "");
  CHECK(Arguments::parse({"convert", "-i", "x"}).text("input") == "x");
  for (const Command& command : commands()) CHECK(command_fault({std::string(command.name)}) == "");
  CHECK(command_fault({"inspekt"}) == "command 'inspekt': unknown command; did you mean inspect?");
  CHECK(command_fault({"model.safetensors"}) == "");
  CHECK(command_fault({"flux-dev"}) ==
        "command 'flux-dev': unknown command; and there is no model of that name");
}

TEST_CASE("arguments: a recipe chooses, what is given wins", "[cli]") {
  const Arguments int8 = Arguments::parse({"--recipe", "comfy-int8"});
  CHECK(int8.text("scaling_mode") == "row");
  CHECK(int8.chosen("scaling_mode"));
  CHECK_FALSE(int8.given("scaling_mode"));
  CHECK(int8.flag("convrot"));
  CHECK(int8.flag("comfy_quant"));
  CHECK(Arguments::parse({"--scaling_mode", "tensor", "--recipe", "comfy-int8"}).text("scaling_mode") ==
        "tensor");
  const Arguments fp8 = Arguments::parse({"--recipe=comfy-fp8", "--no-comfy_quant"});
  CHECK(fp8.flag("fp8"));
  CHECK_FALSE(fp8.flag("comfy_quant"));
  CHECK_FALSE(Arguments::parse({}).chosen("convrot"));
}

TEST_CASE("arguments: a recipe can be a file of options", "[cli]") {
  const ctq::test::TempDir dir;
  const auto with = [&](const std::string& json) {
    ctq::test::write_file(dir / "r.json", json);
    return std::vector<std::string>{"--recipe", dir / "r.json"};
  };
  std::vector<std::string> args =
      with(R"({"fp8": true, "sweeps": 3, "exclude-layers": "norm", "scaling-mode": "row"})");
  args.insert(args.end(), {"--sweeps", "5"});
  const Arguments parsed = Arguments::parse(args);
  CHECK(parsed.flag("fp8"));
  CHECK(parsed.chosen("fp8"));
  CHECK(parsed.text("exclude_layers") == "norm");
  CHECK(parsed.text("scaling_mode") == "row");
  CHECK(parsed.integer("sweeps") == 5);
  CHECK(fault(with("[]")).find("is not a JSON object of options") != std::string::npos);
  CHECK(fault(with(R"({"fp9": true})")).find("'fp9' is no option") != std::string::npos);
  CHECK(fault(with(R"({"sweeps": "x"})")).find("'sweeps' not an integer") != std::string::npos);
  CHECK(fault(with(R"({"sweeps": [1]})")).find("must be a string, a number or a boolean") !=
        std::string::npos);
  CHECK(fault(with(R"({"output": "a"})")).find("belongs to a single run") != std::string::npos);
  CHECK(fault(with(R"({"calib_rows": 9})")).find("'calib_rows' is no option") != std::string::npos);
  CHECK_THROWS_MATCHES(Arguments::parse({"--recipe", dir / "none.json"}), Error,
                       ctq::test::HasCode(ErrorCode::kBadInput, "cannot be read"));
  CHECK(fault({"--recipe", "comfy"}).find("must be one of comfy-fp8") != std::string::npos);
}

TEST_CASE("arguments: a profile changes defaults, not what is given", "[cli]") {
  const Arguments seed = Arguments::parse({"--profile", "seed"});
  CHECK(seed.text("optimizer") == "original");
  CHECK(seed.integer("num_iter") == 1000);
  CHECK_FALSE(seed.given("optimizer"));
  const Arguments peer = Arguments::parse({"--num_iter", "7", "--profile", "peer"});
  CHECK(peer.text("optimizer") == "prodigy");
  CHECK(peer.flag("fp8"));
  CHECK_FALSE(peer.flag("int8"));
  CHECK(peer.integer("num_iter") == 7);
  CHECK(peer.text("lr").empty());  // 1 is prodigy's own
  CHECK(peer.text("lr_schedule") == "plateau");
  CHECK(peer.integer("lr_patience") == 1);
  CHECK(peer.number("lr_factor") == 0.95);
  CHECK(peer.number("lr_min") == 1e-8);
  CHECK(peer.integer("lr_cooldown") == 0);
  CHECK(peer.integer("min_k") == 256);
  CHECK(peer.integer("max_k") == 1280);
  CHECK(peer.number("early_stop_loss") == 5e-9);
  CHECK(peer.number("early_stop_lr") == 1.01e-8);
  CHECK(peer.integer("early_stop_stall") == 2000);
}

}  // namespace ctq::cli
