package provider

import (
	"slices"
	"strings"
)

// DefaultFirst moves the image of that name to the front.
func DefaultFirst(images []Image, name string) []Image {
	at := slices.IndexFunc(images, func(i Image) bool { return i.Name == name })
	if at < 0 {
		return images
	}
	first := images[at]
	return slices.Insert(slices.Delete(images, at, at+1), 0, first)
}

// Problems takes the single complaints out of the one error of Check.
func Problems(err error) []string {
	if err == nil {
		return nil
	}
	text := err.Error()
	if _, list, ok := strings.Cut(text, " cannot work here: "); ok {
		return strings.Split(list, "; ")
	}
	return []string{text}
}
