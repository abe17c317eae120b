package ec2lab

import (
	"encoding/xml"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

// writeAnswer writes an output of the SDK as EC2 does.
func writeAnswer(w io.Writer, action, requestID string, output any) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s<%sResponse xmlns=%q>", xml.Header, action, namespace)
	text(&b, "requestId", requestID)
	if err := fields(&b, reflect.ValueOf(output).Elem()); err != nil {
		return err
	}
	fmt.Fprintf(&b, "</%sResponse>", action)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRefusal(w io.Writer, requestID string, r *refusal) {
	var b strings.Builder
	b.WriteString(xml.Header + "<Response><Errors><Error>")
	text(&b, "Code", r.code)
	text(&b, "Message", r.message)
	b.WriteString("</Error></Errors>")
	text(&b, "RequestID", requestID)
	b.WriteString("</Response>")
	_, _ = io.WriteString(w, b.String()) // a client that went away learns nothing
}

// fields writes what is set in a structure, by the names in the SDK.
func fields(b *strings.Builder, v reflect.Value) error {
	names := answerNames[v.Type().Name()]
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" || v.Field(i).IsZero() {
			continue
		}
		name, ok := names[f.Name]
		if !ok {
			return fmt.Errorf("%s has no field %s that the SDK reads", v.Type().Name(), f.Name)
		}
		if err := one(b, name, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

// itemName is what the SDK reads the elements of a list by: EC2 has one list that differs.
func itemName(element reflect.Type) string {
	if element == reflect.TypeFor[types.InferenceDeviceInfo]() {
		return "member"
	}
	return "item"
}

func one(b *strings.Builder, name string, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if at, ok := v.Interface().(time.Time); ok {
		text(b, name, at.UTC().Format("2006-01-02T15:04:05.000Z"))
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return nested(b, name, func() error { return fields(b, v) })
	case reflect.Slice:
		return nested(b, name, func() error {
			for i := range v.Len() {
				if err := one(b, itemName(v.Type().Elem()), v.Index(i)); err != nil {
					return err
				}
			}
			return nil
		})
	case reflect.String:
		text(b, name, v.String())
	case reflect.Bool:
		text(b, name, strconv.FormatBool(v.Bool()))
	case reflect.Int32, reflect.Int64:
		text(b, name, strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		text(b, name, strconv.FormatFloat(v.Float(), 'f', -1, 64))
	default:
		return fmt.Errorf("%s: nobody writes a %s", name, v.Type())
	}
	return nil
}

func nested(b *strings.Builder, name string, inside func() error) error {
	b.WriteString("<" + name + ">")
	err := inside()
	b.WriteString("</" + name + ">")
	return err
}

func text(b *strings.Builder, name, value string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(value)) // a strings.Builder takes everything
	b.WriteString("</" + name + ">")
}
