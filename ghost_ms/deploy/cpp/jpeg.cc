// JPEG through libjpeg(-turbo), the decoder that Pillow has too.
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "exif.h"
#include "image.h"

// These need what <cstdio> declares.
#include <jerror.h>
#include <jpeglib.h>

namespace ghost_ms {
namespace {

/// libjpeg's errors: a jump out of its C code, which an exception must not cross.
struct Errors {
  jpeg_error_mgr manager{};  // First, so that libjpeg's pointer to it is one to the whole.
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX]{};
};

void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

/// A file that ends early is an error; other blemishes are passed over, as everywhere.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

/// Real files have about ten passes over the pixels; a small file can ask for any number of them.
constexpr int kMaxScans = 100;

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<Errors*>(info->err);
  std::snprintf(errors->message, JMSG_LENGTH_MAX, "the JPEG has more than %d scans", kMaxScans);
  std::longjmp(errors->jump, 1);
}

class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// False after an error. No object with a destructor may live in here: the jump would pass it by.
  bool read(const Bytes& content, Decoded& decoded) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, content.data(), static_cast<unsigned long>(content.size()));
    progress_.progress_monitor = on_progress;
    info_.progress = &progress_;
    jpeg_save_markers(&info_, kExifMarker, 0xffff);
    jpeg_read_header(&info_, TRUE);
    // Before the decoder asks for memory, of which files of several passes need more than the pixels take.
    check_size(info_.image_width, info_.image_height);
    decoded.orientation = orientation();
    if (info_.num_components == 4) {
      std::snprintf(errors_.message, JMSG_LENGTH_MAX, "its colours are CMYK; save it as RGB");
      return false;
    }
    if (info_.num_components != 1) info_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info_);
    Image& image = decoded.image;
    image = Image(static_cast<int>(info_.output_width), static_cast<int>(info_.output_height),
                  info_.output_components);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = image.row(static_cast<int>(info_.output_scanline));
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }

  std::string message() const { return errors_.message; }

 private:
  static constexpr int kExifMarker = JPEG_APP0 + 1;

  int orientation() const {
    for (auto marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->marker == kExifMarker && marker->data_length >= 6 && std::memcmp(marker->data, "Exif\0", 6) == 0) {
        return exif_orientation(marker->data + 6, marker->data_length - 6);
      }
    }
    return 1;
  }

  Errors errors_;
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct info_{};
};

}  // namespace

Decoded decode_jpeg(const Bytes& content) {
  Decoder decoder;
  Decoded decoded;
  if (!decoder.read(content, decoded)) throw std::runtime_error(decoder.message());
  return decoded;
}

}  // namespace ghost_ms
