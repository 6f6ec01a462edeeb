/* A layer on its own: an LSTM over three sequences of five steps, forward and backward.
 *
 *     cc lstm_layer.c $(pkg-config --cflags --libs tandem) */
#include <tandem/layers.h>

#include <stdio.h>

enum { INPUT = 10, HIDDEN = 20, BATCH = 3, TIME = 5 };

static int fail(const td_error *error)
{
    fprintf(stderr, "lstm_layer: %s\n", error->message);
    return 1;
}

int main(void)
{
    static float input[BATCH * TIME * INPUT], output[BATCH * TIME * HIDDEN], h_n[BATCH * HIDDEN], c_n[BATCH * HIDDEN];
    static float ones[BATCH * TIME * HIDDEN], dinput[BATCH * TIME * INPUT];
    td_lstm *lstm = NULL;
    td_error error;
    td_layer_options options = TD_LAYER_OPTIONS_INIT;
    options.input_size = INPUT;
    options.hidden_size = HIDDEN;
    if (td_lstm_new(&options, &lstm, &error) != TD_OK)
        return fail(&error);

    /* Any numbers will do; weights could be set by PyTorch's names: td_layer_set_weight(lstm, "weight_ih_l0", ...). */
    for (size_t i = 0; i < sizeof input / sizeof *input; i++)
        input[i] = (float)(i * 7 % 11) / 5 - 1;
    if (td_layer_forward(lstm, input, BATCH, TIME, NULL, NULL, NULL, output, h_n, c_n, &error) != TD_OK)
        return fail(&error);
    printf("[%d, %d, %d]\n", BATCH, TIME, HIDDEN);
    printf("[1, %d, %d]\n", BATCH, HIDDEN);
    printf("output[0, 0, :4] = %.4f %.4f %.4f %.4f\n", output[0], output[1], output[2], output[3]);
    printf("h_n[0, 0, :4]    = %.4f %.4f %.4f %.4f\n", h_n[0], h_n[1], h_n[2], h_n[3]);

    /* The gradient of the sum of all outputs. */
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        ones[i] = 1;
    if (td_layer_backward(lstm, ones, NULL, NULL, dinput, NULL, NULL, &error) != TD_OK)
        return fail(&error);
    printf("dinput[0, 0, :4] = %.4f %.4f %.4f %.4f\n", dinput[0], dinput[1], dinput[2], dinput[3]);
    td_layer_free(lstm);
    return 0;
}
