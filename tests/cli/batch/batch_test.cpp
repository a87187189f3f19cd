// What a batch decides before it runs anything, and how figures are compared.
#include <fstream>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "cli/batch/expectations.h"
#include "cli/batch/lora_choice.h"
#include "cli/batch/words.h"
#include "cli/commands/commands.h"
#include "cli/options/mode_switches.h"
#include "cli/options/option.h"
#include "cli/options/rows.h"
#include "cli/options/spelling.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::cli::batch {
namespace {

using List = std::vector<std::string>;

LoraChoice choice(const List& words) {
  BatchOptions options;
  return LoraChoice(parse_into(options, words, make_batch_table));
}

Expectations one_file() {
  Expectations expectations{.tolerances = standard_tolerances(), .files = {}};
  expectations.files["a"] = {
      .exit_code = 0,
      .worst_layer = "x.weight",
      .numbers = {
          {"output_bytes", 100}, {"mean_weight_rel", 0.02}, {"total_sqnr_db", 34}, {"worst_sqnr_db", 30}}};
  return expectations;
}

}  // namespace

TEST_CASE("batch words: own options, their values and loose words are apart from the conversion's", "[cli]") {
  const Words words = split_words({"a", "--fp8", "b", "--jobs", "2", "--manual_seed", "-1", "c",
                                   "--merge-loras", "l", "m", "--recipe=x", "-q", "d", "--", "--e"});
  CHECK(words.own == List{"a", "b", "--jobs", "2", "c", "--recipe=x", "d", "--", "--e"});
  CHECK(words.conversion == List{"--fp8", "--manual_seed", "-1", "--merge-loras", "l", "m", "-q"});
}

TEST_CASE("batch words: every option of the conversion reaches it, but those that the batch has itself",
          "[cli]") {
  const Table& table = batch_table();
  const Spellings own(table.options);
  const auto is_own = [&](const Option& option) { return own.find(option.name) != nullptr; };
  for (const Option& option : conversion_table().options) {
    CAPTURE(option.name);
    const bool bare = option.kind == Kind::kSwitch || option.optional_value;
    const List words = bare ? List{option.name} : List{option.name, "x"};
    List given{"a"};
    given.insert(given.end(), words.begin(), words.end());
    if (without_mode_switch(words) != words) {
      CHECK_THROWS_MATCHES(split_words(given), Error, test::HasCode(ErrorCode::kUsage, "mode switch"));
      continue;
    }
    const Words split = split_words(given);
    CHECK(split.conversion == (is_own(option) ? List{} : words));
    CHECK(split.own.size() == (is_own(option) ? given.size() : 1));
  }
}

TEST_CASE("batch words: mode switches and what nobody knows are refused", "[cli]") {
  const std::string word = GENERATE(as<std::string>(), "--edit-quant", "--jobz", "--qqqqqqqq");
  CAPTURE(word);
  CHECK_THROWS_MATCHES(split_words({"a", word}), Error, test::HasCode(ErrorCode::kUsage));
}

TEST_CASE("batch LoRAs: mapping by name, stem, and part of the stem between delimiters", "[cli]") {
  const test::TempDir dir;
  test::write_file(dir / "map.json",
                   R"({"_x": 1, "dev": "part", "flux-dev": "stem", "flux-dev.safetensors": "name",
                                         "model_1": ["one", "two"]})");
  const LoraChoice loras = choice({"--lora-mapping", dir / "map.json"});
  CHECK(loras.of("m/flux-dev.safetensors") == List{"name"});
  CHECK(loras.of("flux-dev") == List{"stem"});
  CHECK(loras.of("other.dev_x.safetensors") == List{"part"});
  CHECK(loras.of("my_model_1.safetensors") == List{"one", "two"});
  CHECK(loras.of("model_10.safetensors").empty());
  CHECK(loras.of("develop.safetensors").empty());
  CHECK(loras.of("_x.safetensors").empty());
}

TEST_CASE("batch LoRAs: one for all wins over the mapping, the mapping over the folder", "[cli]") {
  const test::TempDir dir;
  for (const char* name : {"a_lora.safetensors", "b.safetensors", "bare.safetensors", "all.safetensors"})
    test::write_file(dir / name, "");
  test::write_file(dir / "map.json", R"({"b": "bare.safetensors"})");
  const List folder{"--lora-dir", dir.path().string()};
  CHECK(choice(folder).of("x/a.safetensors") == List{dir / "a_lora.safetensors"});
  CHECK(choice(folder).of("c.safetensors").empty());
  // A model that lies in the folder itself is not its own LoRA.
  CHECK(choice(folder).of(dir / "b.safetensors").empty());
  const List mapped{"--lora-dir", dir.path().string(), "--lora-mapping", dir / "map.json"};
  CHECK(choice(mapped).of("x/b.safetensors") == List{dir / "bare.safetensors"});
  CHECK(choice({"--merge-lora", dir / "all.safetensors", "--lora-mapping", dir / "map.json"})
            .of("b.safetensors") == List{dir / "all.safetensors"});
}

TEST_CASE("batch LoRAs: a bad mapping is kBadInput", "[cli]") {
  const test::TempDir dir;
  const std::string text = GENERATE(as<std::string>(), "{", "[]", R"({"a": "x", "a": "y"})", R"({"a": 3})",
                                    R"({"a": []})", R"({"_a": "x"})");
  CAPTURE(text);
  test::write_file(dir / "map.json", text);
  CHECK_THROWS_MATCHES(choice({"--lora-mapping", dir / "map.json"}), Error,
                       test::HasCode(ErrorCode::kBadInput));
  CHECK_THROWS_MATCHES(choice({"--lora-dir", dir / "none"}), Error, test::HasCode(ErrorCode::kBadInput));
  CHECK_THROWS_MATCHES(choice({"--merge-lora", dir / "none"}), Error, test::HasCode(ErrorCode::kBadInput));
}

TEST_CASE("batch expectations: within the tolerances nothing deviates", "[cli]") {
  const Expectations wanted = one_file();
  FigureTable got = wanted.files;
  got["a"].numbers["mean_weight_rel"] = 0.0201;
  got["a"].numbers["total_sqnr_db"] = 34.09;
  CHECK(deviations(wanted, got).empty());
}

TEST_CASE("batch expectations: a deviation names file, figure, wanted and got", "[cli]") {
  const Expectations wanted = one_file();
  FigureTable got = wanted.files;
  SECTION("exit code") {
    got["a"].exit_code = 4;
    CHECK(deviations(wanted, got) == List{"a: exit_code: wanted 0, got 4"});
  }
  SECTION("bytes are exact") {
    got["a"].numbers["output_bytes"] = 101;
    CHECK(deviations(wanted, got) == List{"a: output_bytes: wanted 100, got 101"});
  }
  SECTION("relative error") {
    got["a"].numbers["mean_weight_rel"] = 0.0203;
    CHECK(deviations(wanted, got) == List{"a: mean_weight_rel: wanted 0.02, got 0.0203"});
  }
  SECTION("a figure that is new or gone") {
    got["a"].numbers.erase("worst_sqnr_db");
    got["a"].numbers["mean_output_rel"] = 0.5;
    CHECK(deviations(wanted, got) ==
          List{"a: mean_output_rel: wanted none, got 0.5", "a: worst_sqnr_db: wanted 30, got none"});
  }
  SECTION("worst layer") {
    got["a"].worst_layer = "y.weight";
    CHECK(deviations(wanted, got) == List{"a: worst_layer: wanted 'x.weight', got 'y.weight'"});
  }
  SECTION("files") {
    got["b"] = got["a"];
    got.erase("a");
    CHECK(deviations(wanted, got).size() == 2);
  }
}

TEST_CASE("batch expectations: what is written is read back, nonsense is kBadInput", "[cli]") {
  const Expectations written = one_file();
  const Expectations read = parse_expectations(expectations_json(written));
  CHECK(deviations(read, written.files).empty());
  CHECK(read.tolerances == written.tolerances);
  CHECK(parse_expectations(R"({"tolerances": {"output_bytes": 9}, "files": {}})")
            .tolerances.at("output_bytes") == 9);
  for (const char* text :
       {"", "{}", R"({"files": []})", R"({"files": {"a": 1}})", R"({"files": {"a": {"sqnr": 1}}})",
        R"({"files": {}, "tolerances": {"x": 1}})", R"({"files": {}, "tolerances": {"output_bytes": -1}})"}) {
    CAPTURE(text);
    CHECK_THROWS_MATCHES(parse_expectations(text), Error, test::HasCode(ErrorCode::kBadInput));
  }
}

}  // namespace ctq::cli::batch
