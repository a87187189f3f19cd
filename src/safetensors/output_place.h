// Where an output file goes, and the hidden files beside it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::safetensors {

/// A path that can become a file. Where it is a symbolic link, what it points to is meant. All faults are
/// Error(kFailure).
class OutputPlace {
 public:
  /// Checks that `path` can become a file without destroying something else. Changes nothing.
  explicit OutputPlace(const std::string& path);

  const std::string& path() const { return path_; }  ///< as the user gave it
  const std::filesystem::path& target() const { return target_; }
  const std::filesystem::path& folder() const { return folder_; }

  /// "<folder>/.<name><ending>", with the middle of a long name replaced by its hash.
  std::filesystem::path hidden(std::string_view ending) const;

  void make_folders();
  /// Takes away the folders that make_folders() made, as far as they are empty.
  void remove_made_folders() noexcept;

  /// Opens a hidden file of this place, made with a new file's permissions where it is missing, and locks it.
  /// returns  the descriptor, or -1 with errno; EWOULDBLOCK: another process holds the lock
  static int open_locked(const std::filesystem::path& hidden);
  /// Removes hidden files "<name>.<process><ending>" of this place that no process holds the lock of: what a
  /// killed run left.
  void remove_abandoned(std::string_view ending) const noexcept;
  [[noreturn]] void fail_in_use(const std::filesystem::path& hidden) const;
  [[noreturn]] void fail_create(int error) const;

  /// Makes new names in the folder outlast a loss of power, where the file system can.
  void sync_folder() const;

 private:
  /// "." and the name, shortened so that any ending fits: what hidden files of this place have in common.
  std::string hidden_stem() const;

  std::string path_;
  std::filesystem::path target_;
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> made_folders_;  ///< outermost first
};

}  // namespace ctq::safetensors
