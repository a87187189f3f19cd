#include "safetensors/record_log.h"

#include <catch2/catch.hpp>

#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::safetensors {
namespace {

using ctq::test::HasCode;
using ctq::test::read_file;
using ctq::test::TempDir;
using ctq::test::write_file;
using Lines = std::vector<std::string>;

void write_lines(const std::string& path, const Lines& lines) {
  RecordLog log(path);
  log.append(lines);
  log.keep();
}

Lines lines_of(const std::string& path) {
  RecordLog log(path);
  log.keep();
  return log.found();
}

}  // namespace

TEST_CASE("record log: what was kept is found, and more can be added", "[safetensors]") {
  const TempDir dir;
  CHECK_FALSE(RecordLog::exists(dir / "x"));
  write_lines(dir / "x", {"one", "", "three, with \xc3\xa4"});
  CHECK(RecordLog::exists(dir / "x"));
  write_lines(dir / "x", {"four"});
  CHECK(lines_of(dir / "x") == Lines{"one", "", "three, with \xc3\xa4", "four"});
  CHECK(dir.entries() == Lines{".x.journal"});
}

TEST_CASE("record log: ends at a line that is not as it was written", "[safetensors]") {
  const TempDir dir;
  write_lines(dir / "x", {"one", "two", "three"});
  const std::string file = dir / ".x.journal";
  std::string content = read_file(file);
  SECTION("torn") { content.resize(content.size() - 12); }
  SECTION("without its end") { content.resize(content.size() - 1); }
  SECTION("zeros, as after a loss of power") { content.replace(content.size() - 20, 19, 19, '\0'); }
  SECTION("another letter") { content[content.rfind("three")] = 'T'; }
  SECTION("another checksum") { content[content.rfind('\n', content.size() - 2) + 1] ^= 1; }
  write_file(file, content);
  CHECK(lines_of(dir / "x") == Lines{"one", "two"});
  write_lines(dir / "x", {"four"});
  CHECK(lines_of(dir / "x") == Lines{"one", "two", "four"});
}

TEST_CASE("record log: forgets", "[safetensors]") {
  const TempDir dir;
  write_lines(dir / "x", {"one", "two"});
  {
    RecordLog log(dir / "x");
    log.clear();
    log.append(Lines{"three"});
    log.keep();
  }
  CHECK(lines_of(dir / "x") == Lines{"three"});
}

TEST_CASE("record log: unless it is kept, the folder is as it was", "[safetensors]") {
  const TempDir dir;
  RecordLog(dir / "new/deep/x").append(Lines{"one"});
  CHECK(dir.entries().empty());
}

TEST_CASE("record log: one process at a time", "[safetensors]") {
  const TempDir dir;
  const RecordLog log(dir / "x");
  CHECK_THROWS_MATCHES(RecordLog(dir / "x"), Error, HasCode(ErrorCode::kFailure, dir / "x", "another run"));
  CHECK_THROWS_MATCHES(RecordLog(dir.path().string()), Error, HasCode(ErrorCode::kFailure, "is a directory"));
}

}  // namespace ctq::safetensors
