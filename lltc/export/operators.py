"""The ATen operators that lltc evaluates, by kind; the functions stand in `lltc.models.torch_graph.ops`."""

KINDS: dict[str, str] = {
    "Number by number": (
        "__and__ __lshift__ __or__ __rshift__ __xor__ _conj _prelu_kernel abs acos acosh add addcdiv "
        "addcmul angle asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu "
        "clamp clamp_max clamp_min clip complex conj cos cosh div elu eq erf erfc erfinv exp exp2 expm1 "
        "float_power floor floor_divide fmax fmin fmod ge gelu glu gt hardshrink hardsigmoid hardswish "
        "hardtanh hypot imag isfinite isinf isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid "
        "logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt masked_fill maximum "
        "minimum mish mul nan_to_num ne neg polar positive pow prelu real reciprocal relu relu6 remainder "
        "round rrelu rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh softplus softshrink softsign "
        "special_log_ndtr special_logit special_xlogy sqrt square sub tan tanh threshold true_divide trunc "
        "where xlogy"
    ),
    "Copies, casts and checks": (
        "_assert_async _assert_scalar _assert_tensor_metadata _to_copy alias alias_copy alpha_dropout clone "
        "contiguous copy detach detach_copy dropout feature_alpha_dropout feature_dropout lift lift_fresh "
        "lift_fresh_copy native_dropout resolve_conj resolve_neg sym_constrain_range "
        "sym_constrain_range_for_size to type_as view_as_complex view_as_real"
    ),
    "Shapes and views": (
        "_reshape_alias _unsafe_view adjoint broadcast_tensors broadcast_to cat chunk concat concatenate "
        "constant_pad_nd diag_embed diagonal expand expand_as flatten flip hstack mT meshgrid moveaxis "
        "movedim narrow numpy_T pad permute pixel_shuffle reflection_pad1d reflection_pad2d "
        "reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d "
        "reshape reshape_as roll select slice split split_with_sizes squeeze stack swapaxes sym_numel "
        "sym_size t tensor_split tile transpose tril triu unbind unflatten unfold unsqueeze view view.dtype "
        "view_as vstack"
    ),
    "Indexing": (
        "_unsafe_index _unsafe_index_put bucketize diagonal_scatter embedding gather index index_add "
        "index_copy index_fill index_put index_select scatter scatter_add select_scatter slice_scatter "
        "take_along_dim"
    ),
    "Reductions": (
        "_log_softmax _safe_softmax _softmax all amax amin any argmax argmin argsort count_nonzero cumprod "
        "cumsum diff frobenius_norm linalg_vector_norm log_softmax logsumexp max mean min nansum norm prod "
        "softmax sort std sum topk var var_mean"
    ),
    "Products and transforms": (
        "_fft_c2c _fft_r2c _weight_norm _weight_norm_interface addmm addmv baddbmm bilinear bmm "
        "cosine_similarity cross dot einsum fft_fft fft_fft2 fft_ifft fft_irfft fft_irfft2 fft_rfft "
        "fft_rfft2 inner kron linalg_cholesky linalg_cross linalg_inv linalg_solve linear matmul mm mv "
        "outer tensordot trace vdot"
    ),
    "Convolution": ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"),
    "Pooling and resizing": (
        "_adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
        "_upsample_nearest_exact3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d "
        "max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d "
        "max_pool3d_with_indices upsample_bilinear2d upsample_linear1d upsample_nearest1d "
        "upsample_nearest2d upsample_nearest3d upsample_trilinear3d"
    ),
    "Normalization": (
        "_native_batch_norm_legit_no_training batch_norm group_norm instance_norm layer_norm "
        "native_batch_norm native_group_norm native_layer_norm rms_norm"
    ),
    "Attention": ("scaled_dot_product_attention"),
    "Recurrent layers": (
        "gru.input gru_cell lstm.input lstm_cell rnn_relu.input rnn_relu_cell rnn_tanh.input rnn_tanh_cell"
    ),
    "New arrays": (
        "arange eye fill full full_like linspace logspace new_full new_ones new_zeros one_hot ones "
        "ones_like scalar_tensor tril_indices triu_indices zeros zeros_like"
    ),
    "Losses": (
        "binary_cross_entropy_with_logits cross_entropy_loss huber_loss l1_loss mse_loss nll_loss "
        "nll_loss_nd smooth_l1_loss"
    ),
}

NAMES = frozenset(name for names in KINDS.values() for name in names.split())
