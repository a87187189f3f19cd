// Lines of text that outlive the process which writes them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::safetensors {

/// A hidden file beside an output, ".<name>.journal", of lines that each bear a checksum. One process at a
/// time holds it. Destroyed without keep(), it takes the file with it.
class RecordLog {
 public:
  /// Opens what an earlier process left, or makes a new file, with missing folders. What follows a torn or
  /// damaged line is dropped.
  /// throws  Error(kFailure): `path` cannot become a file, see Writer; another process holds the log
  explicit RecordLog(const std::string& path);
  ~RecordLog();
  RecordLog(const RecordLog&) = delete;
  RecordLog& operator=(const RecordLog&) = delete;

  /// Whether an earlier process left one.
  static bool exists(const std::string& path);

  /// Name of the hidden file.
  const std::string& file() const;
  /// The lines that were there when it was opened.
  const std::vector<std::string>& found() const;

  /// Forgets all lines.
  void clear();
  /// Returns when the lines would outlast a loss of power. lines: without line ends in them
  void append(std::span<const std::string> lines);
  void keep();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ctq::safetensors
