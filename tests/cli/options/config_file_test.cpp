// Options from a file and from the environment, and who wins.
#include "cli/options/config_file.h"

#include <cstdlib>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::cli {
namespace {

using List = std::vector<std::string>;

/// A configuration file and command lines that name it.
class Config {
 public:
  explicit Config(const std::string& text) { test::write_file(path(), text); }
  std::string path() const { return dir_ / "my.toml"; }
  Arguments with(List words = {}) const {
    words.insert(words.begin(), {"--config", path()});
    return Arguments::parse(words);
  }

 private:
  test::TempDir dir_;
};

/// A variable for the time of a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("config: TOML and INI lines are options of the command line", "[cli]") {
  const Config config(
      "# a comment\n; another\n\n[what to write]\nfp8 = true\nscaling-mode=row  # behind a value\n"
      "exclude_layers = 'a\\.b # c'\nlr = 5e-3\noutput = \"a \\\"b\\\"\\\\c\"\r\nsimple = off\n"
      "merge_loras = ['x', \"y\"] # two\n");
  const Arguments read = config.with();
  CHECK(read.flag("fp8"));
  CHECK(read.given("fp8"));
  CHECK(read.text("scaling_mode") == "row");
  CHECK(read.text("exclude_layers") == "a\\.b # c");
  CHECK(read.number("lr") == 5e-3);
  CHECK(read.text("output") == "a \"b\"\\c");
  CHECK_FALSE(read.flag("simple"));
  CHECK(read.list("merge_loras") == List{"x", "y"});
}

TEST_CASE("config: command line over environment over file over recipe over default", "[cli]") {
  const Config config(
      "threads = 2\ndevice = 'cpu'\nscaling_mode = block\nrecipe = comfy-int8\nblock_size = 64\n");
  const Variable threads("CTQ_THREADS", "3");
  CHECK(config.with().integer("threads") == 3);
  CHECK(config.with({"--threads", "4"}).integer("threads") == 4);
  CHECK(config.with().text("scaling_mode") == "block");  // the recipe says row
  CHECK(config.with().flag("convrot"));
  CHECK(config.with({"--block_size", "32"}).integer("block_size") == 32);
  CHECK(Arguments::parse({"--threads=5"}).integer("threads") == 5);
  CHECK_FALSE(Arguments::parse({}).given("threads"));
  const Variable device("CTQ_DEVICE", "");
  CHECK(config.with().text("device") == "cpu");
}

TEST_CASE("config: a bad variable is named", "[cli]") {
  const Variable threads("CTQ_THREADS", "many");
  CHECK_THROWS_MATCHES(Arguments::parse({}), Error,
                       test::HasCode(ErrorCode::kUsage, "environment variable CTQ_THREADS", "many"));
}

TEST_CASE("config: a fault names file and line", "[cli]") {
  const std::string line = GENERATE(
      as<std::string>(), "no_such = 1", "fp9 = true", "fp8", "block_size = 0", "scaling_mode = round",
      "fp8 = perhaps", "output = 'open", "output = 'a' b", "merge_loras = [a]", "merge_loras = ['a'",
      "output = ['a', 'b']", "output =", "help = true", "edit_quant = true", "config = 'x'", "heur = true",
      "[open", "output = \"\\q\"", "outlier_percentile = 0.9");
  CAPTURE(line);
  const Config config("heur = false\n\n" + line + "\n");
  CHECK_THROWS_MATCHES(config.with(), Error, test::HasCode(ErrorCode::kUsage, config.path() + ":3: "));
  CHECK_THROWS_MATCHES(Arguments::parse({"--config", "/none/there"}), Error,
                       test::HasCode(ErrorCode::kBadInput));
}

TEST_CASE("config: what is printed is read back as the same options", "[cli]") {
  const List words{"-i",
                   "it's \\ \"m\".safetensors",
                   "--fp8",
                   "--no-merge-lora-dampen",
                   "--merge-loras",
                   "a b",
                   "c",
                   "--lr",
                   "1e-4",
                   "--exclude-layers",
                   "^x'\\d+\t\"$",
                   "--recipe",
                   "comfy-int8",
                   "--max-shard-size",
                   "4GB",
                   "--dry-run",
                   "--profile=peer",
                   "--device",
                   "cpu"};
  const Arguments first = Arguments::parse(words);
  const std::string printed = config_text(first);
  const Arguments second = Config(printed).with();
  CHECK(config_text(second) == printed);
  for (const char* option :
       {"input", "merge_loras", "exclude_layers", "lr", "dry_run", "recipe", "max_shard_size"}) {
    CAPTURE(option);
    CHECK(second.list(option) == first.list(option));
    CHECK(second.given(option));
  }
  CHECK(printed.find("\nmerge_lora_dampen = false\n") != std::string::npos);
  CHECK(printed.find("\n# convrot = true  (recipe)\n") != std::string::npos);
  CHECK(printed.find("\n# block_size = 128\n") != std::string::npos);
}

}  // namespace ctq::cli
