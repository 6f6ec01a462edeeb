// The one C++ file: SentencePiece's processor and trainer, plus sampling over the model's own pieces.

extern "C" {
#include "text/sentencepiece.h"

#include "base/reader.h"
#include "base/utf8.h"
#include "platform/child.h"
#include "platform/file.h"
#include "text/unicode.h"
}

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <locale>
#include <memory>
#include <new>
#include <queue>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };
enum { PIECE_NORMAL = 1, PIECE_USER_DEFINED = 4 };

/* No sentence is near this; the library counts with int. */
constexpr size_t TEXT_LIMIT = size_t(1) << 28;

struct entry {
    int32_t id;
    float score;
    bool user_defined;
};

struct symbol {
    std::string_view text;
    bool known_whole; /* a user-defined piece: never merged */
};

struct segment {
    std::string_view text;
    int32_t id; /* -1: unknown */
};

/* Runs `body`, turning exceptions into statuses: none may reach C. */
template <typename Body> td_status guarded(td_error *error, Body body)
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return td_fail_memory(error, 0);
    } catch (const std::exception &exception) {
        return td_fail(error, TD_ERROR_INTERNAL, "SentencePiece: %s", exception.what());
    } catch (...) {
        return td_fail(error, TD_ERROR_INTERNAL, "SentencePiece: unknown exception");
    }
}

/* The library's message without its source file and condition: "Internal: src/x.cc(12) [cond] text" -> "text". */
const char *plain_message(const sentencepiece::util::Status &status)
{
    const char *message = status.error_message();
    const char *bracket = std::strstr(message, "] ");
    return bracket && bracket[2] ? bracket + 2 : message;
}

/* Protocol buffers, only as far as the model's fields need: each call gives one field. */
struct proto_field {
    uint32_t number, wire;
    uint64_t value;          /* wire 0, 5 */
    std::string_view bytes;  /* wire 2 */
};

uint64_t read_varint(td_reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = td_read_u8(reader);
        value |= uint64_t(byte & 0x7f) << shift;
        if (reader->failed || byte < 0x80)
            return value;
    }
    reader->failed = true;
    return 0;
}

bool next_field(td_reader *reader, proto_field *field)
{
    if (reader->failed || td_reader_left(reader) == 0)
        return false;
    uint64_t key = read_varint(reader);
    *field = {uint32_t(key >> 3), uint32_t(key & 7), 0, {}};
    if (field->wire == 0)
        field->value = read_varint(reader);
    else if (field->wire == 1)
        field->value = td_read_u64(reader);
    else if (field->wire == 5)
        field->value = td_read_u32(reader);
    else if (field->wire == 2) {
        uint64_t length = read_varint(reader);
        const uint8_t *bytes = td_read_bytes(reader, size_t(length));
        field->bytes = std::string_view(reinterpret_cast<const char *>(bytes), bytes ? size_t(length) : 0);
    } else
        reader->failed = true;
    return !reader->failed;
}

size_t character_length(std::string_view text)
{
    uint32_t code;
    size_t length = td_utf8_decode(text.data(), text.size(), &code);
    return length ? length : 1;
}

} // namespace

struct td_sentencepiece {
    sentencepiece::SentencePieceProcessor processor;
    std::unordered_map<std::string, entry> stored;           /* owns the keys of `pieces` */
    std::unordered_map<std::string_view, entry> pieces;      /* normal and user-defined */
    size_t longest = 0, longest_user_defined = 0;            /* bytes */
    float lowest = 0, highest = 0;                           /* scores of normal pieces */
    uint64_t kind = MODEL_UNIGRAM;
    int32_t byte_ids[256];
    bool byte_fallback = false;
};

namespace {

void add_piece(td_sentencepiece *model, std::string_view message, int32_t id)
{
    td_reader reader = td_reader_of(message.data(), message.size());
    proto_field field;
    std::string_view text;
    float score = 0;
    uint64_t type = PIECE_NORMAL;
    while (next_field(&reader, &field)) {
        if (field.number == 1)
            text = field.bytes;
        else if (field.number == 2) {
            uint32_t bits = uint32_t(field.value);
            std::memcpy(&score, &bits, sizeof score);
        } else if (field.number == 3)
            type = field.value;
    }
    if ((type != PIECE_NORMAL && type != PIECE_USER_DEFINED) || text.empty())
        return;
    bool user_defined = type == PIECE_USER_DEFINED;
    auto added = model->stored.emplace(std::string(text), entry{id, score, user_defined});
    model->pieces.emplace(added.first->first, added.first->second);
    model->longest = std::max(model->longest, text.size());
    if (user_defined)
        model->longest_user_defined = std::max(model->longest_user_defined, text.size());
    else {
        bool first = model->lowest == 0 && model->highest == 0;
        model->lowest = first ? score : std::min(model->lowest, score);
        model->highest = first ? score : std::max(model->highest, score);
    }
}

/* Reads what sampling needs and the library does not tell: scores by piece, which are user-defined, the model's kind. */
void read_pieces(td_sentencepiece *model, std::string_view data)
{
    td_reader reader = td_reader_of(data.data(), data.size());
    proto_field field;
    int32_t id = 0;
    while (next_field(&reader, &field)) {
        if (field.number == 1 && field.wire == 2)
            add_piece(model, field.bytes, id++);
        if (field.number != 2 || field.wire != 2)
            continue;
        td_reader inner = td_reader_of(field.bytes.data(), field.bytes.size());
        proto_field option;
        while (next_field(&inner, &option)) {
            if (option.number == 3 && option.wire == 0)
                model->kind = option.value;
            if (option.number == 35 && option.wire == 0)
                model->byte_fallback = option.value != 0;
        }
    }
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        std::snprintf(name, sizeof name, "<0x%02X>", unsigned(byte));
        model->byte_ids[byte] = model->processor.PieceToId(name);
        if (!model->processor.IsByte(model->byte_ids[byte]))
            model->byte_fallback = false;
    }
}

td_status parse_model(td_sentencepiece *model, std::string_view data, const char *name, td_error *error)
{
    auto status = model->processor.LoadFromSerializedProto(data);
    if (!status.ok() || model->processor.GetPieceSize() == 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: not a SentencePiece model: %s", name, status.ok() ? "no pieces" : plain_message(status));
    read_pieces(model, data);
    return TD_OK;
}

/* Recovers the normalized text from the best segmentation, whose pieces spell it. */
td_status normalize(const td_sentencepiece *model, std::string_view text, std::string *ret_normalized, td_error *error)
{
    sentencepiece::ImmutableSentencePieceText result;
    auto status = model->processor.Encode(text, result.mutable_proto());
    if (!status.ok())
        return td_fail(error, TD_ERROR_INTERNAL, "SentencePiece: %s", plain_message(status));
    size_t count = result.pieces_size();
    for (size_t i = 0; i < count; i++) {
        auto piece = result.pieces(int(i));
        if (model->processor.IsByte(int(piece.id())))
            ret_normalized->push_back(char(std::stoi(piece.piece().substr(3, 2), nullptr, 16)));
        else
            ret_normalized->append(piece.piece());
    }
    return TD_OK;
}

const entry *find_piece(const td_sentencepiece *model, std::string_view text)
{
    auto found = model->pieces.find(text);
    return found == model->pieces.end() ? nullptr : &found->second;
}

/* The longest user-defined piece that `text` begins with; 0 when none. */
size_t user_defined_prefix(const td_sentencepiece *model, std::string_view text)
{
    for (size_t length = std::min(text.size(), model->longest_user_defined); length > 0; length--) {
        const entry *found = find_piece(model, text.substr(0, length));
        if (found && found->user_defined)
            return length;
    }
    return 0;
}

struct candidate {
    float score;
    int left, right;
    size_t size; /* of the two together when it was queued: another size now means it is stale */
};

struct worse {
    bool operator()(const candidate &a, const candidate &b) const
    {
        return a.score < b.score || (a.score == b.score && a.left > b.left);
    }
};

/* The library's merge loop: highest score first, each candidate dropped with probability alpha. */
class bpe_sampler {
  public:
    bpe_sampler(const td_sentencepiece *model, double alpha, td_random *random) : model(model), alpha(alpha), random(random) {}

    std::vector<segment> run(std::string_view text)
    {
        for (size_t at = 0; at < text.size();) {
            size_t whole = user_defined_prefix(model, text.substr(at));
            size_t length = whole ? whole : character_length(text.substr(at));
            nodes.push_back({{text.substr(at, length), whole > 0}, int(nodes.size()) - 1, int(nodes.size()) + 1});
            at += length;
        }
        if (!nodes.empty())
            nodes.back().next = -1;
        for (size_t i = 1; i < nodes.size(); i++)
            offer(int(i) - 1, int(i));
        merge_all();
        std::vector<segment> result;
        for (int i = nodes.empty() ? -1 : 0; i >= 0; i = nodes[size_t(i)].next) {
            const entry *found = find_piece(model, nodes[size_t(i)].value.text);
            result.push_back({nodes[size_t(i)].value.text, found ? found->id : -1});
        }
        return result;
    }

  private:
    struct node {
        symbol value;
        int previous, next;
    };

    void offer(int left, int right)
    {
        if (left < 0 || right < 0 || nodes[size_t(left)].value.known_whole || nodes[size_t(right)].value.known_whole)
            return;
        std::string_view a = nodes[size_t(left)].value.text, b = nodes[size_t(right)].value.text;
        std::string_view joined(a.data(), a.size() + b.size());
        const entry *found = find_piece(model, joined);
        if (found)
            agenda.push({found->score, left, right, joined.size()});
    }

    void merge_all()
    {
        while (!agenda.empty()) {
            candidate best = agenda.top();
            agenda.pop();
            node &left = nodes[size_t(best.left)], &right = nodes[size_t(best.right)];
            if (left.value.text.empty() || right.value.text.empty() || left.value.text.size() + right.value.text.size() != best.size)
                continue;
            if (td_random_uniform(random) < alpha)
                continue;
            left.value.text = std::string_view(left.value.text.data(), best.size);
            right.value.text = {};
            left.next = right.next;
            if (right.next >= 0)
                nodes[size_t(right.next)].previous = best.left;
            offer(left.previous, best.left);
            offer(best.left, left.next);
        }
    }

    const td_sentencepiece *model;
    double alpha;
    td_random *random;
    std::vector<node> nodes;
    std::priority_queue<candidate, std::vector<candidate>, worse> agenda;
};

struct arc {
    size_t begin;
    int32_t id;
    double score;
};

double log_add(double a, double b)
{
    double high = std::max(a, b), low = std::min(a, b);
    return std::isinf(low) ? high : high + std::log1p(std::exp(low - high));
}

/* Forward sums over the lattice, then one path drawn from its end. */
class unigram_sampler {
  public:
    unigram_sampler(const td_sentencepiece *model, double alpha, td_random *random) : model(model), alpha(alpha), random(random) {}

    std::vector<segment> run(std::string_view text)
    {
        build(text);
        std::vector<double> total(text.size() + 1, -std::numeric_limits<double>::infinity());
        total[0] = 0;
        for (size_t end = 1; end <= text.size(); end++)
            for (const arc &a : arcs[end])
                total[end] = log_add(total[end], total[a.begin] + alpha * a.score);
        std::vector<segment> reversed;
        for (size_t end = text.size(); end > 0;) {
            const arc &a = draw(arcs[end], total);
            reversed.push_back({text.substr(a.begin, end - a.begin), a.id});
            end = a.begin;
        }
        return {reversed.rbegin(), reversed.rend()};
    }

  private:
    void build(std::string_view text)
    {
        arcs.resize(text.size() + 1);
        std::vector<bool> boundary(text.size() + 1, false);
        for (size_t at = 0; at < text.size(); at += character_length(text.substr(at)))
            boundary[at] = true;
        boundary[text.size()] = true;
        for (size_t begin = 0; begin < text.size(); begin++) {
            if (!boundary[begin])
                continue;
            size_t single = character_length(text.substr(begin));
            bool covered = false;
            for (size_t length = single; length <= std::min(model->longest, text.size() - begin); length++) {
                const entry *found = boundary[begin + length] ? find_piece(model, text.substr(begin, length)) : nullptr;
                if (!found)
                    continue;
                /* A user-defined piece beats whatever else covers it, as in the library. */
                double score = found->user_defined ? double(length) * model->highest - 0.1 : found->score;
                arcs[begin + length].push_back({begin, found->id, score});
                covered |= length == single;
            }
            if (!covered)
                arcs[begin + single].push_back({begin, -1, model->lowest - 10.0});
        }
    }

    const arc &draw(const std::vector<arc> &choices, const std::vector<double> &total)
    {
        double sum = -std::numeric_limits<double>::infinity();
        for (const arc &a : choices)
            sum = log_add(sum, total[a.begin] + alpha * a.score);
        double left = td_random_uniform(random);
        for (const arc &a : choices) {
            left -= std::exp(total[a.begin] + alpha * a.score - sum);
            if (left < 0)
                return a;
        }
        return choices.back();
    }

    const td_sentencepiece *model;
    double alpha;
    td_random *random;
    std::vector<std::vector<arc>> arcs; /* by end */
};

/* Hands the segments on as the library would: unknown neighbours as one, or their bytes. */
td_status visit_segments(const td_sentencepiece *model, const std::vector<segment> &segments, td_piece_visit visit, void *context, td_error *error)
{
    for (size_t i = 0; i < segments.size(); i++) {
        std::string_view text = segments[i].text;
        if (segments[i].id >= 0) {
            TD_TRY(visit(context, text.data(), text.size(), segments[i].id, error));
        } else if (model->byte_fallback) {
            for (char c : text) {
                int32_t id = model->byte_ids[uint8_t(c)];
                const std::string &piece = model->processor.IdToPiece(id);
                TD_TRY(visit(context, piece.data(), piece.size(), id, error));
            }
        } else {
            while (i + 1 < segments.size() && segments[i + 1].id < 0)
                text = std::string_view(text.data(), text.size() + segments[++i].text.size());
            TD_TRY(visit(context, text.data(), text.size(), model->processor.unk_id(), error));
        }
    }
    return TD_OK;
}

td_status check_length(size_t length, td_error *error)
{
    return length <= TEXT_LIMIT ? TD_OK : td_fail(error, TD_ERROR_LIMIT, "text of %zu bytes is too long for one sequence (%zu at most)", length, TEXT_LIMIT);
}

} // namespace

extern "C" td_status td_sentencepiece_parse(const void *data, size_t length, const char *name, td_sentencepiece **ret_model, td_error *error)
{
    return guarded(error, [&] {
        auto model = std::make_unique<td_sentencepiece>();
        TD_TRY(parse_model(model.get(), std::string_view(static_cast<const char *>(data), length), name, error));
        *ret_model = model.release();
        return TD_OK;
    });
}

extern "C" td_status td_sentencepiece_open(const char *path, td_sentencepiece **ret_model, td_error *error)
{
    td_mapped_file file;
    TD_TRY(td_file_map(path, &file, error));
    td_status status = td_sentencepiece_parse(file.data ? (const void *)file.data : "", file.size, path, ret_model, error);
    td_file_unmap(&file);
    return status;
}

extern "C" void td_sentencepiece_free(td_sentencepiece *model)
{
    delete model;
}

extern "C" td_status td_sentencepiece_encode(const td_sentencepiece *model, const char *text, size_t length, td_piece_visit visit, void *context, td_error *error)
{
    TD_TRY(check_length(length, error));
    return guarded(error, [&] {
        sentencepiece::ImmutableSentencePieceText result;
        auto status = model->processor.Encode(std::string_view(text, length), result.mutable_proto());
        if (!status.ok())
            return td_fail(error, TD_ERROR_INTERNAL, "SentencePiece: %s", plain_message(status));
        size_t count = result.pieces_size();
        for (size_t i = 0; i < count; i++) {
            auto piece = result.pieces(int(i));
            TD_TRY(visit(context, piece.piece().data(), piece.piece().size(), int32_t(piece.id()), error));
        }
        return TD_OK;
    });
}

extern "C" td_status td_sentencepiece_sample(const td_sentencepiece *model, const char *text, size_t length, double alpha, td_random *random, td_piece_visit visit, void *context, td_error *error)
{
    if (!(alpha > 0) || (model->kind != MODEL_UNIGRAM && model->kind != MODEL_BPE))
        return td_sentencepiece_encode(model, text, length, visit, context, error);
    TD_TRY(check_length(length, error));
    return guarded(error, [&] {
        std::string normalized;
        TD_TRY(normalize(model, std::string_view(text, length), &normalized, error));
        std::vector<segment> segments = model->kind == MODEL_BPE ? bpe_sampler(model, alpha, random).run(normalized)
                                                                 : unigram_sampler(model, alpha, random).run(normalized);
        return visit_segments(model, segments, visit, context, error);
    });
}

extern "C" td_status td_sentencepiece_decode(const td_sentencepiece *model, const char *const *pieces, size_t count, td_buffer *text, td_error *error)
{
    return guarded(error, [&] {
        std::vector<absl::string_view> views(pieces, pieces + count);
        std::string result;
        auto status = model->processor.Decode(views, &result);
        if (!status.ok())
            return td_fail(error, TD_ERROR_INTERNAL, "SentencePiece: %s", plain_message(status));
        td_buffer_append(text, result.data(), result.size());
        return td_buffer_ok(text) ? TD_OK : td_fail_memory(error, result.size());
    });
}

extern "C" size_t td_sentencepiece_size(const td_sentencepiece *model)
{
    return size_t(model->processor.GetPieceSize());
}

static bool in_range(const td_sentencepiece *model, int32_t id)
{
    return id >= 0 && id < model->processor.GetPieceSize();
}

extern "C" const char *td_sentencepiece_piece(const td_sentencepiece *model, int32_t id)
{
    return in_range(model, id) ? model->processor.IdToPiece(id).c_str() : nullptr;
}

extern "C" int32_t td_sentencepiece_id(const td_sentencepiece *model, const char *piece, size_t length)
{
    return model->processor.PieceToId(absl::string_view(piece, length));
}

extern "C" bool td_sentencepiece_is_unknown(const td_sentencepiece *model, int32_t id)
{
    return in_range(model, id) && model->processor.IsUnknown(id);
}

extern "C" bool td_sentencepiece_is_control(const td_sentencepiece *model, int32_t id)
{
    return in_range(model, id) && model->processor.IsControl(id);
}

extern "C" bool td_sentencepiece_is_byte(const td_sentencepiece *model, int32_t id)
{
    return in_range(model, id) && model->processor.IsByte(id);
}

namespace {

/* The trainer takes no longer sentences. */
constexpr size_t SENTENCE_LIMIT = 1000000;

/* A line that gives the trainer a character: where no line does, it ends the process. */
bool is_usable(const char *text, size_t length)
{
    bool blank = true;
    for (size_t at = 0; blank && at < length;) {
        uint32_t code = 0;
        size_t used = td_utf8_decode(text + at, length - at, &code);
        blank = used > 0 && (td_unicode_is_space(code) || td_unicode_is_other(code));
        at += used;
    }
    return !blank && length <= SENTENCE_LIMIT;
}

/* Feeds the caller's usable sentences to the trainer and keeps the caller's own error. */
class caller_sentences : public sentencepiece::SentenceIterator {
  public:
    explicit caller_sentences(const td_sentences *sentences, td_error *error) : sentences(sentences), error(error) { Next(); }
    bool done() const override { return finished; }
    const std::string &value() const override { return current; }
    sentencepiece::util::Status status() const override
    {
        return outcome == TD_OK ? sentencepiece::util::Status()
                                : sentencepiece::util::Status(sentencepiece::util::StatusCode::kAborted, "reading sentences failed");
    }
    void Next() override
    {
        for (;;) {
            const char *text = nullptr;
            size_t length = 0;
            outcome = sentences->next(sentences->context, &text, &length, error);
            finished = outcome != TD_OK || !text;
            if (finished)
                return;
            lines++;
            if (!is_usable(text, length))
                continue;
            current.assign(text, length);
            return;
        }
    }

    td_status outcome = TD_OK;
    size_t lines = 0;

  private:
    const td_sentences *sentences;
    td_error *error;
    std::string current;
    bool finished = false;
};

bool is_one_of(const char *text, std::initializer_list<const char *> names)
{
    for (const char *name : names)
        if (text && std::strcmp(text, name) == 0)
            return true;
    return false;
}

td_status check_options(const td_sentencepiece_options *options, td_error *error)
{
    if (!is_one_of(options->kind, {"unigram", "bpe", "char", "word"}))
        return td_fail(error, TD_ERROR_ARGUMENT, "vocabulary kind \"%s\" is not known (unigram, bpe, char, word)", options->kind ? options->kind : "");
    if (!is_one_of(options->normalization, {"nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"}))
        return td_fail(error, TD_ERROR_ARGUMENT, "normalization \"%s\" is not known (nmt_nfkc, nmt_nfkc_cf, nfkc, nfkc_cf, identity)",
                       options->normalization ? options->normalization : "");
    if (options->size < 2 || options->size > 10000000)
        return td_fail(error, TD_ERROR_ARGUMENT, "vocabulary size %zu is out of range (2 to 10000000)", options->size);
    if (!(options->character_coverage > 0.9 && options->character_coverage <= 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "character coverage %g is out of range (above 0.9, up to 1)", options->character_coverage);
    return TD_OK;
}

std::unordered_map<std::string, std::string> trainer_arguments(const td_sentencepiece_options *options)
{
    std::ostringstream coverage;
    coverage.imbue(std::locale::classic());
    coverage.precision(17);
    coverage << options->character_coverage;
    std::unordered_map<std::string, std::string> arguments = {
        {"model_type", options->kind},
        {"vocab_size", std::to_string(options->size)},
        {"character_coverage", coverage.str()},
        {"byte_fallback", options->byte_fallback ? "true" : "false"},
        {"normalization_rule_name", options->normalization},
        {"hard_vocab_limit", options->exact_size ? "true" : "false"},
        {"max_sentence_length", std::to_string(SENTENCE_LIMIT)},
        {"unk_id", "0"},
        {"bos_id", "-1"},
        {"eos_id", "-1"},
        {"pad_id", "-1"},
        {"num_threads", "4"}, /* fixed: the sums of the EM steps depend on it */
        {"minloglevel", "2"},
    };
    std::string symbols;
    for (size_t i = 0; i < options->user_symbol_count; i++) {
        symbols += i ? ",\"" : "\"";
        for (const char *at = options->user_symbols[i]; *at; at++)
            symbols += *at == '"' ? std::string("\"\"") : std::string(1, *at);
        symbols += '"';
    }
    if (!symbols.empty())
        arguments["user_defined_symbols"] = symbols;
    return arguments;
}

struct training {
    const td_sentencepiece_options *options;
    const td_sentences *sentences;
};

td_status train(void *context, td_buffer *model, td_error *error)
{
    const td_sentencepiece_options *options = static_cast<training *>(context)->options;
    return guarded(error, [&] {
        td_error reading = {};
        caller_sentences iterator(static_cast<training *>(context)->sentences, &reading);
        std::string serialized;
        if (iterator.outcome == TD_OK && iterator.done())
            return iterator.lines == 0 ? td_fail(error, TD_ERROR_ARGUMENT, "no sentences to make a vocabulary from")
                                       : td_fail(error, TD_ERROR_ARGUMENT,
                                                 "no sentences to make a vocabulary from: all %zu lines are blank or longer than %zu bytes",
                                                 iterator.lines, SENTENCE_LIMIT);
        auto status = sentencepiece::SentencePieceTrainer::Train(trainer_arguments(options), &iterator, &serialized);
        if (iterator.outcome != TD_OK)
            return td_fail(error, iterator.outcome, "%s", reading.message);
        if (!status.ok())
            return td_fail(error, TD_ERROR_ARGUMENT, "%s vocabulary of %zu pieces: %s", options->kind, options->size, plain_message(status));
        td_buffer_append(model, serialized.data(), serialized.size());
        return td_buffer_ok(model) ? TD_OK : td_fail_memory(error, serialized.size());
    });
}

} // namespace

extern "C" td_status td_sentencepiece_train(const td_sentencepiece_options *options, const td_sentences *sentences, td_buffer *model, td_error *error)
{
    TD_TRY(check_options(options, error));
    training work = {options, sentences};
    return td_child_run(train, &work, options->stop, model, error);
}
