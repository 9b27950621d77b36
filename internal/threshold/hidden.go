package threshold

// hidden holds a secret two pointers away from whoever prints the struct around it. fmt calls no methods on unexported
// fields and, for a verb that does not fit, follows one pointer; it never follows two. Copies share the secret.
type hidden[T any] struct {
	p **T
}

func hide[T any](secret *T) hidden[T] { return hidden[T]{&secret} }

// get returns the secret, nil if there is none.
func (h hidden[T]) get() *T {
	if h.p == nil {
		return nil
	}
	return *h.p
}
