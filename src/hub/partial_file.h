#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mlxd::hub {

// A file on its way: "<blob>.mlxd.incomplete", with "<blob>.mlxd.ranges" beside it, which says what
// of it is there, so that the next process goes on where this one ended. (Not huggingface_hub's own
// "<blob>.incomplete": its versions take such a file for a beginning without gaps.)
//
// Pieces are fetched by one connection each. Throws StartupError when the disk refuses.
class PartialFile {
 public:
  struct Piece {
    std::int64_t begin = 0, end = 0;  // bytes of the file
    std::int64_t done = 0;            // of them, from `begin`
    bool taken = false;               // somebody fetches it

    bool complete() const { return begin + done == end; }
  };

  // Takes up what lies there, if it fits together, of a file of `size` bytes.
  PartialFile(std::filesystem::path blob, std::int64_t size);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  // How much of such a file lies there, without opening it.
  static std::int64_t bytes_there(const std::filesystem::path& blob, std::int64_t size);

  // A piece that nobody fetches, as an index; nothing when all are taken or there.
  std::optional<std::size_t> take();
  void give_back(std::size_t piece) { pieces_[piece].taken = false; }
  const Piece& piece(std::size_t index) const { return pieces_[index]; }

  // The next bytes of a piece. False when there are more than it has.
  bool write(std::size_t piece, const char* data, std::size_t size);

  std::int64_t size() const { return size_; }
  std::int64_t done() const;
  bool complete() const { return done() == size_; }

  // Forgets what is there; as one piece when the server knows no ranges. Nobody may hold a piece.
  void start_again(bool as_one_piece);

  void save() const;    // what is there, for the next process
  void move_to_blob();  // when its hash is right: from now on it is the blob
  void remove();
  const std::filesystem::path& path() const { return path_; }

 private:
  void divide();

  const std::filesystem::path blob_, path_, ranges_path_;
  const std::int64_t size_;
  std::vector<Piece> pieces_;
  int descriptor_ = -1;
};

}  // namespace mlxd::hub
