// Values of single options, those that this version does not take yet included.
#include "cli/options/value.h"

#include <algorithm>
#include <limits>
#include <string>

#include <catch2/catch.hpp>

namespace ctq::cli {
namespace {

std::string fault(const std::string& name, const std::string& value) {
  for (const Option& option : conversion_table().options) {
    if (option.name == name) return value_fault(option, value).value_or("");
  }
  return "no such option";
}

}  // namespace

TEST_CASE("values: integers parse completely and lie in their bounds", "[cli]") {
  CHECK(fault("--block_size", "1") == "");
  CHECK(fault("--block_size", "1e3") == "");
  for (const std::string bad :
       {"12x", " 12", "12 ", "1.5", "1e-1", "0x10", "nan", "inf", "+", "1e30", "99999999999999999999"}) {
    INFO(bad);
    CHECK(fault("--block_size", bad) == "not an integer");
  }
  CHECK(fault("--block_size", "0") == "must be at least 1");
  CHECK(fault("--block_size", "-5") == "must be at least 1");
  CHECK(fault("--manual_seed", "-1") == "");
  CHECK(fault("--manual_seed", "4294967295") == "");
  CHECK(fault("--manual_seed", "-2") == "must be at least -1 and at most 4294967295");
  CHECK(fault("--manual_seed", "4294967296") == "must be at least -1 and at most 4294967295");
}

TEST_CASE("values: numbers are finite, and open bounds are open", "[cli]") {
  CHECK(fault("--lr", "5e-6") == "");
  CHECK(fault("--lr", ".5") == "");
  CHECK(fault("--lr", "0") == "must be greater than 0");
  for (const std::string bad : {"nan", "inf", "-inf", "1e999", "1,5", "1.5x", "0x1p3", "e5"}) {
    INFO(bad);
    CHECK(fault("--lr", bad) == "not a finite number");
  }
  CHECK(fault("--top_p", "1") == "");
  CHECK(fault("--top_p", "0") == "must be greater than 0 and at most 1");
  CHECK(fault("--lr_factor", "1") == "must be greater than 0 and less than 1");
  CHECK(fault("--quality-threshold", "-3.5") == "");
}

TEST_CASE("values: choices, devices, sizes, paths, switches", "[cli]") {
  CHECK(fault("--scaling_mode", "block2d") == "");
  CHECK(fault("--scaling_mode", "Block") == "must be one of block, axis, tensor, row, block2d, block3d");
  CHECK(fault("--optimizer", "rtn") == "");
  CHECK(fault("--custom-type", "nvfp4") == "");
  CHECK(fault("--convrot-group-size", "128") == "must be one of 4, 16, 64, 256, 1024, 4096");
  for (const std::string good : {"auto", "cpu", "cuda", "cuda:0", "cuda:12"})
    CHECK(fault("--device", good) == "");
  for (const std::string bad : {"gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:0 ", "cuda0"}) {
    CHECK(fault("--device", bad) == "must be auto, cpu, cuda or cuda:N");
  }
  CHECK(fault("--max-shard-size", "4GB") == "");
  CHECK(fault("--max-shard-size", "lots") == "not a size such as 4GB or 500MiB");
  CHECK(fault("--max-shard-size", "0") == "must be at least 1");
  CHECK(fault("--output", "-") == "not a path; standard input and output are not supported");
  CHECK(fault("--simple", "maybe") == "must be true or false (also 1, 0, yes, no, on, off)");
  for (const std::string name : {"--output", "--exclude-layers", "--block_size", "--simple", "--device"}) {
    CHECK(fault(name, "") == "the value is empty");
  }
}

TEST_CASE("values: switch words in any case", "[cli]") {
  for (const char* on : {"true", "TRUE", "1", "Yes", "oN"}) CHECK(parse_switch(on) == true);
  for (const char* off : {"false", "False", "0", "no", "OFF"}) CHECK(parse_switch(off) == false);
  for (const char* bad : {"", "2", "y", "truee", " true"}) CHECK(parse_switch(bad) == std::nullopt);
}

TEST_CASE("values: durations have units, the longer first", "[cli]") {
  CHECK(parse_duration("30s") == 30);
  CHECK(parse_duration("2h") == 7200);
  CHECK(parse_duration("1h30m") == 5400);
  CHECK(parse_duration("1.5m10s") == 100);
  CHECK(parse_duration("0s") == 0);
  for (const char* bad : {"", "30", "m", "1h30", "30m1h", "1s1s", "-1s", "1e3s", "1 h", "1H", "1d", "1..5s",
                          "nan", "99999999999h"}) {
    INFO(bad);
    CHECK(parse_duration(bad) == std::nullopt);
  }
  CHECK(fault("--time", "1s") == "");
  CHECK(fault("--time", "0.9s") == "must be at least 1 seconds");
  CHECK(fault("--time", "30") == "not a duration such as 30s, 10m or 1h30m");
}

TEST_CASE("values: integers keep all their digits", "[cli]") {
  CHECK(parse_integer("9223372036854775807") == std::numeric_limits<int64_t>::max());
  CHECK(parse_integer("9007199254740993") == 9007199254740993);
  CHECK(parse_integer("2.5e1") == 25);
}

}  // namespace ctq::cli
