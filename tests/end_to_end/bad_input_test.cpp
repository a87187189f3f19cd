// What a bad input gives: the exit code, one message that names the thing, no output, an older output
// untouched.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;
using namespace std::string_literals;
using safetensors::Dtype;

namespace {

/// A header with its length in front, then data.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return bytes + header + data;
}

const std::string kOlder = "an older output";

/// Runs a conversion of `content` over an older output and checks that nothing happened to it.
Outcome convert_bytes(const std::string& content) {
  const TempDir dir;
  write_file(dir / "in.safetensors", content);
  write_file(dir / "out.safetensors", kOlder);
  Outcome outcome = run_binary({"-i", dir / "in.safetensors", "-o", dir / "out.safetensors", "--fp8"});
  CHECK(read_file(dir / "out.safetensors") == kOlder);
  CHECK(dir.entries() == std::vector<std::string>{"in.safetensors", "out.safetensors"});
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == (outcome.code == 2 ? 2 : 1));
  return outcome;
}

std::string valid_file() {
  return file_of(R"({"a.weight":{"dtype":"BF16","shape":[4,4],"data_offsets":[0,32]}})",
                 std::string(32, '\x3c'));
}

}  // namespace

TEST_CASE("bad input: truncated at every byte", "[end_to_end]") {
  const std::string whole = valid_file();
  for (size_t length = 0; length < whole.size(); ++length) {
    const Outcome outcome = convert_bytes(whole.substr(0, length));
    INFO(length << " bytes: " << outcome.err);
    CHECK(outcome.code == 4);
    CHECK(outcome.err.find("in.safetensors") != std::string::npos);
  }
}

TEST_CASE("bad input: one message that names the thing", "[end_to_end]") {
  struct Row {
    std::string what, content, says;
  };
  const std::string data(32, '\x3c');
  const auto row = GENERATE_COPY(values<Row>({
      {"empty file", "", "in.safetensors"},
      {"length field 0", std::string(8, '\0') + "{}", "header"},
      {"length field 2^63", "\0\0\0\0\0\0\0\x80{}"s, "header"},
      {"length beyond the file", "\xff\0\0\0\0\0\0\0{}"s, "header"},
      {"not UTF-8", file_of("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", ""),
       "UTF-8"},
      {"not JSON", file_of("{nonsense}", ""), "JSON"},
      {"not an object", file_of("[]", ""), "object"},
      {"duplicate key",
       file_of(
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           "xy"),
       "'a'"},
      {"overlap",
       file_of(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "xyz"),
       "'b'"},
      {"gap",
       file_of(
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
           "xyz"),
       "'b'"},
      {"shape and dtype do not match",
       file_of(R"({"a.weight":{"dtype":"BF16","shape":[4,5],"data_offsets":[0,32]}})", data), "'a.weight'"},
      {"shape overflows",
       file_of(R"({"a.weight":{"dtype":"BF16","shape":[4294967296,4294967296,4],"data_offsets":[0,32]}})",
               data),
       "'a.weight'"},
      {"undefined dtype",
       file_of(R"({"a.weight":{"dtype":"FLOAT7","shape":[4,4],"data_offsets":[0,32]}})", data), "FLOAT7"},
      {"trailing bytes", valid_file() + "x", "bytes"},
      {"a pickle", "PK\x03\x04" + std::string(40, '\0'), "PyTorch"},
      {"a GGUF file", "GGUF" + std::string(40, '\0'), "GGUF"},
      {"an HTML page", "<!DOCTYPE html><html>not found</html>", "HTML"},
  }));
  INFO(row.what);
  const Outcome outcome = convert_bytes(row.content);
  INFO(outcome.err);
  CHECK(outcome.code == 4);
  CHECK(outcome.err.find("in.safetensors") != std::string::npos);
  CHECK(outcome.err.find(row.says) != std::string::npos);
}

TEST_CASE("bad input: paths that cannot be read", "[end_to_end]") {
  const TempDir dir;
  const Outcome missing = run_binary({"-i", dir / "none.safetensors", "-o", dir / "o.safetensors"});
  CHECK(missing.code == 4);
  CHECK(missing.err.find("No such file") != std::string::npos);
  const Outcome empty_folder = run_binary({"-i", dir.path().string(), "-o", dir / "o.safetensors"});
  CHECK(empty_folder.code == 4);
  CHECK(dir.entries().empty());
}

TEST_CASE("bad input: shards that are missing or hold a tensor twice", "[end_to_end]") {
  const TempDir dir;
  const auto index = [&](const std::string& map) {
    write_file(dir / "m.safetensors.index.json", R"({"weight_map":{)" + map + "}}");
  };
  make_checkpoint(dir / "a.safetensors", {bf16_weight("x.weight", 16, 16)});
  index(R"("x.weight":"a.safetensors","y.weight":"b.safetensors")");
  const Outcome missing = run_binary({"-i", dir / "m.safetensors.index.json", "-o", dir / "o.safetensors"});
  CHECK(missing.code == 4);
  CHECK(missing.err.find("b.safetensors") != std::string::npos);

  make_checkpoint(dir / "b.safetensors", {bf16_weight("x.weight", 16, 16), bf16_weight("y.weight", 16, 16)});
  const Outcome twice = run_binary({"-i", dir / "m.safetensors.index.json", "-o", dir / "o.safetensors"});
  CHECK(twice.code == 4);
  CHECK(twice.err.find("x.weight") != std::string::npos);

  index(R"("x.weight":"a.safetensors","x.weight":"b.safetensors")");
  CHECK(run_binary({"-i", dir / "m.safetensors.index.json", "-o", dir / "o.safetensors"}).code == 4);
  index(R"("x.weight":"../a.safetensors")");
  CHECK(run_binary({"-i", dir / "m.safetensors.index.json", "-o", dir / "o.safetensors"}).code == 4);
  CHECK_FALSE(std::filesystem::exists(dir / "o.safetensors"));
}

TEST_CASE("bad input: the output is the input, also through links", "[end_to_end]") {
  const TempDir dir;
  write_file(dir / "in.safetensors", valid_file());
  std::filesystem::create_symlink(dir / "in.safetensors", dir / "soft.safetensors");
  std::filesystem::create_hard_link(dir / "in.safetensors", dir / "hard.safetensors");
  for (const char* output :
       {"in.safetensors", "soft.safetensors", "hard.safetensors", "./nowhere/../in.safetensors"}) {
    const Outcome outcome = run_binary({"-i", dir / "in.safetensors", "-o", dir / output, "--fp8"});
    INFO(output << ": " << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(read_file(dir / "in.safetensors") == valid_file());
  }
}

TEST_CASE("bad input: an output that cannot be written is refused before any work", "[end_to_end]") {
  const TempDir dir;
  write_file(dir / "in.safetensors", valid_file());
  std::filesystem::create_directory(dir / "folder");
  write_file(dir / "file", "");
  CHECK(run_binary({"-i", dir / "in.safetensors", "-o", dir / "folder", "--fp8"}).code == 1);
  const Outcome below_file =
      run_binary({"-i", dir / "in.safetensors", "-o", dir / "file/out.safetensors", "--fp8"});
  CHECK(below_file.code == 1);
  CHECK(below_file.err.find("file") != std::string::npos);
}

TEST_CASE("bad input: a read-only folder", "[end_to_end]") {
  const TempDir dir;
  write_file(dir / "in.safetensors", valid_file());
  std::filesystem::create_directory(dir / "folder");
  if (geteuid() == 0) {
    WARN("[skipped] read-only folder: root may write everywhere");
    return;
  }
  ::chmod((dir / "folder").c_str(), 0500);
  CHECK(run_binary({"-i", dir / "in.safetensors", "-o", dir / "folder/out.safetensors", "--fp8"}).code == 1);
}

TEST_CASE("bad input: a read-only file system", "[end_to_end]") {
  const TempDir dir;
  write_file(dir / "in.safetensors", valid_file());
  std::filesystem::create_directory(dir / "mount");
  if (::mount("tmpfs", (dir / "mount").c_str(), "tmpfs", MS_RDONLY, "size=64k") != 0) {
    WARN("[skipped] a tmpfs cannot be mounted here");
    return;
  }
  const Outcome outcome =
      run_binary({"-i", dir / "in.safetensors", "-o", dir / "mount/out.safetensors", "--fp8"});
  ::umount((dir / "mount").c_str());
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("mount/out.safetensors") != std::string::npos);
}

TEST_CASE("bad input: a full disk leaves the older output", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "in.safetensors", {bf16_weight("a.weight", 512, 512)});
  std::filesystem::create_directory(dir / "mount");
  if (::mount("tmpfs", (dir / "mount").c_str(), "tmpfs", 0, "size=128k") != 0) {
    WARN("[skipped] a tmpfs cannot be mounted here");
    return;
  }
  write_file(dir / "mount/out.safetensors", kOlder);
  const Outcome outcome =
      run_binary({"-i", dir / "in.safetensors", "-o", dir / "mount/out.safetensors", "--fp8"});
  const std::string left = read_file(dir / "mount/out.safetensors");
  const auto entries = std::distance(std::filesystem::directory_iterator(dir / "mount"),
                                     std::filesystem::directory_iterator());
  ::umount((dir / "mount").c_str());
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("space") != std::string::npos);
  CHECK(left == kOlder);
  CHECK(entries == 1);
}

TEST_CASE("bad input: already quantized files are refused", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 64, 64)});
  const auto flags = GENERATE(
      values<std::vector<std::string>>({{"--fp8", "--comfy_quant"}, {"--fp8"}, {"--scaling_mode", "row"}}));
  std::vector<std::string> args = {"-i", dir / "m.safetensors", "-o", dir / "q.safetensors"};
  args.insert(args.end(), flags.begin(), flags.end());
  REQUIRE(run_binary(args).code == 0);
  const Outcome again = run_binary({"-i", dir / "q.safetensors", "-o", dir / "qq.safetensors", "--fp8"});
  CHECK(again.code == 4);
  CHECK(again.err.find("already quantized") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(dir / "qq.safetensors"));
}

TEST_CASE("bad input: nothing to quantize", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_vector("norm.weight", 64), tensor("five", Dtype::kU8, {1, 1, 1, 1, 2}, "ab")});
  CHECK(run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors"}).code == 1);
  CHECK_FALSE(std::filesystem::exists(dir / "o.safetensors"));
  CHECK(run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--allow-empty"}).code == 0);
  write_file(dir / "none.safetensors", file_of("{}", ""));
  CHECK(run_binary({"-i", dir / "none.safetensors", "-o", dir / "o2.safetensors"}).code == 1);
}

TEST_CASE("odd input: names with newlines, quotes and other alphabets survive", "[end_to_end]") {
  const TempDir dir;
  const std::string odd = "a\nb\"c\\d.\xC3\xA9\xE4\xB8\xAD.weight";
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight(odd, 32, 32), bf16_vector("", 4), tensor("empty", Dtype::kF32, {0, 3}, ""),
                   tensor("five", Dtype::kU8, {1, 1, 1, 1, 2}, "ab")});
  const Outcome run = run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8",
                                  "--comfy_quant", "--save-quant-metadata"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const safetensors::Reader out(dir / "o.safetensors");
  CHECK(out.find(odd)->dtype == Dtype::kF8E4M3);
  CHECK(out.find("") != nullptr);
  CHECK(out.find("five")->shape.size() == 5);
}

TEST_CASE("a sparse file with a tensor above 4 GiB converts", "[end_to_end][slow]") {
  const TempDir dir;
  const auto space = std::filesystem::space(dir.path());
  if (space.available < (uint64_t{8} << 30)) {
    WARN("[skipped] less than 8 GiB free");
    return;
  }
  // BF16 [3 * 2^20, 1024] is 6 GiB of zeros; only the header is on the disk.
  const std::string header =
      R"({"big.weight":{"dtype":"BF16","shape":[3145728,1024],"data_offsets":[0,6442450944]}})";
  write_file(dir / "m.safetensors", file_of(header, ""));
  std::filesystem::resize_file(dir / "m.safetensors", 8 + header.size() + 6442450944u);
  const Outcome run = run_binary(
      {"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8", "--comfy_quant", "--simple"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const safetensors::Reader out(dir / "o.safetensors");
  const auto codes = out.bytes(*out.find("big.weight"));
  CHECK(codes.size() == 3221225472u);
  CHECK(codes.back() == std::byte{0});
}

TEST_CASE("an interrupt without --resume removes the temporary file and exits 130", "[end_to_end]") {
  const TempDir dir;
  const std::string header =
      R"({"a.weight":{"dtype":"BF16","shape":[262144,1024],"data_offsets":[0,536870912]},)"
      R"("b.weight":{"dtype":"BF16","shape":[262144,1024],"data_offsets":[536870912,1073741824]},)"
      R"("c.weight":{"dtype":"BF16","shape":[262144,1024],"data_offsets":[1073741824,1610612736]}})";
  write_file(dir / "m.safetensors", file_of(header, ""));
  std::filesystem::resize_file(dir / "m.safetensors", 8 + header.size() + 1610612736u);
  write_file(dir / "o.safetensors", kOlder);
  const Outcome outcome = run_binary(
      {"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8", "--threads", "1", "--no-resume"},
      "timeout --foreground --preserve-status -s INT 0.4");
  INFO(outcome.err << outcome.out);
  CHECK(outcome.code == 130);
  CHECK(read_file(dir / "o.safetensors") == kOlder);
  CHECK(dir.entries() == std::vector<std::string>{"m.safetensors", "o.safetensors"});
}

TEST_CASE("an interrupt ends an optimizer in the middle of a layer, also when it comes twice",
          "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 1024, 1024)});
  // Without --foreground `timeout` signals the process and its group.
  const std::string stop =
      GENERATE("timeout --foreground --preserve-status -s INT 3", "timeout --preserve-status -s INT 3");
  CAPTURE(stop);
  const Outcome outcome = run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8",
                                      "--optimizer", "original", "--num_iter", "100000000", "--lr_schedule",
                                      "exponential", "--lr_gamma", "1", "--early-stop-stall", "1000000000"},
                                     stop);
  INFO(outcome.err << outcome.out);
  CHECK(outcome.code == 130);
  CHECK(dir.entries() == std::vector<std::string>{"m.safetensors"});
}
