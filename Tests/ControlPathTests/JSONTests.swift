import ControlPath
import Testing

@Suite struct JSONTests {
    @Test func objectsKeepTheirOrder() {
        var writer = JSONWriter()
        writer.add("b", 18_446_744_073_709_551_615)
        writer.add("a", "x")
        writer.add("yes", true)
        writer.add("ratio", json: "0.5000")
        writer.add("list", list: ["1", "{}"])
        #expect(
            writer.finish()
                == #"{"b":18446744073709551615,"a":"x","yes":true,"ratio":0.5000,"list":[1,{}]}"#)
        #expect(JSONWriter().finish() == "{}")
    }

    @Test func textIsEscaped() {
        #expect(
            JSONWriter.quoted("a\"b\\c\nd\te\rf\u{1}g\u{7f}ü/")
                == #""a\"b\\c\nd\te\rf\u0001g\u007fü/""#)
    }

    @Test(arguments: [
        "{}", "[]", #"{"a":[1,-2.5e3,"x",true,false,null,{"b":{}}]}"#, #""\"\\\n😀""#,
        #"{"same":1,"same":2}"#,
    ])
    func whatIsReadIsWrittenTheSame(text: String) {
        #expect(JSONValue(parsing: text)?.json == text)
    }

    @Test func membersAndEscapes() {
        let value = JSONValue(parsing: #" { "a" : "\u0041\ud83d\ude00\/" , "n" : 7 } "#)
        #expect(value?["a"]?.plain == "A😀/")
        #expect(value?["n"]?.unsigned == 7)
        #expect(value?["x"] == nil)
        #expect(value?["n"]?["x"] == nil)
    }

    @Test(arguments: [
        "", " ", "{", "}", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "tru", "nul",
        "\"", "\"\\\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\u+123\"", "1 2",
        "--1", "\"\n\"", "{}x", "+", "1e999999",
    ])
    func badTextIsRefused(text: String) {
        #expect(JSONValue(parsing: text) == nil)
    }

    @Test func depthIsBounded() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(JSONValue(parsing: deep) == nil)
    }

    @Test func truncationsAndBitFlipsNeverTrap() {
        let text = #"{"a":[1,2.5,"x\u00e9\n",true,null],"b":{"c":"d"}}"#
        let bytes = Array(text.utf8)
        for end in 0..<bytes.count {
            #expect(JSONValue(parsing: String(decoding: bytes[..<end], as: UTF8.self)) == nil)
        }
        for index in 0..<bytes.count {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                _ = JSONValue(parsing: String(decoding: changed, as: UTF8.self))
            }
        }
    }
}

@Suite struct RatioTests {
    @Test(
        arguments: [
            (0, 0, 4, "0.0000"), (0, 5, 4, "0.0000"), (1, 3, 4, "0.3333"), (2, 3, 4, "0.6667"),
            (1, 1, 4, "1.0000"), (99999, 100_000, 4, "1.0000"), (3, 2, 2, "1.50"),
            (1, 200, 2, "0.01"),
            (1, 201, 2, "0.00"), (UInt64.max, 1, 2, "18446744073709551615.00"),
            (UInt64.max, UInt64.max, 4, "1.0000"), (UInt64.max - 1, UInt64.max, 4, "1.0000"),
        ] as [(UInt64, UInt64, Int, String)])
    func roundsHalfUp(numerator: UInt64, denominator: UInt64, decimals: Int, text: String) {
        #expect(
            Ratio.text(numerator, denominator, decimals: decimals, whenEmpty: "0.0000") == text)
    }
}
